// What a driver visits: a window of `steps` steps and an order. Configured once, then only advanced.

import { ACTOR_DRIVE } from "../layout/actor";
import { ACTOR_INTEGRITY, Drive, Integrity, Workload } from "../layout/drive";
import { Map } from "../layout/map";
import { Access } from "../layout/walk";
import { Permutation } from "../guest/permutation";
import { Touch } from "./access";
import { Random, nextRandom, seedRandom } from "./random";

/** Bits of a zipf draw that choose within an octave: the most steps such a window may have is two to this power. */
export const ZIPF_BITS_MAX: u32 = 24;

/** Sets the window of an actor and the seed, and starts everything anew. */
export function configureWindow(actor: usize, seed: u64, gva: u64, steps: u32, strideShift: u32): void {
  const drive = Touch.drive(actor);
  memory.fill(actor + ACTOR_DRIVE, 0, offsetof<Drive>());
  memory.fill(actor + ACTOR_INTEGRITY, 0, offsetof<Integrity>());
  seedRandom(actor, seed);
  drive.gva = gva;
  drive.steps = steps;
  drive.strideShift = strideShift;
  drive.stepBits = Permutation.bits(steps);
  drive.key = Random.mix(~seed);
  drive.chunkPages = 1;
}

/** Sets order and mix. `setSteps`, `setMove` and `setPeriod` are for `Shifting` only. */
export function configureWorkload(
  actor: usize,
  workload: Workload,
  writePermille: u32,
  setSteps: u32,
  setMove: u32,
  setPeriod: u32,
): void {
  const drive = Touch.drive(actor);
  drive.workload = workload;
  drive.writeShare = (min<u32>(writePermille, 1000) * 65536) / 1000;
  drive.setSteps = min<u32>(setSteps, drive.steps);
  drive.setMove = setMove < drive.steps ? setMove : setMove % drive.steps;
  drive.setPeriod = setPeriod;
  drive.setLeft = setPeriod;
  drive.setFirst = 0;
  drive.visited = 0;
  // vCPUs that share a window begin apart.
  const share = <u64>drive.steps * Map.actorIndex(actor);
  drive.position = workload == Workload.Chase ? <u32>(share / Map.vcpuCount) % drive.steps : 0;
}

export class Mix {
  /** Read or write, from the bits of a draw that choose no step. */
  @inline static access(draw: u64, writeShare: u32): Access {
    return Random.share(draw) < writeShare ? Access.Write : Access.Read;
  }
}

export class Steps {
  /** The `i`th step of the window's permutation. */
  @inline static permuted(drive: Drive, i: u32): u32 {
    return <u32>Permutation.of(i, drive.steps, drive.stepBits, drive.key);
  }
  /** The `i`th step of a walk through the whole window: in order for a sequential workload, else permuted. */
  @inline static inOrder(drive: Drive, i: u32): u32 {
    return drive.workload == Workload.Sequential ? i : Steps.permuted(drive, i);
  }
  @inline static gva(drive: Drive, step: u32): u64 {
    return Touch.step(drive.gva, step, drive.strideShift);
  }
  /** First byte of a step. */
  @inline static start(drive: Drive, step: u32): u64 {
    return drive.gva + ((<u64>step) << (<u64>drive.strideShift));
  }
}

/**
 * Ranks from 1 with probability proportional to 1/rank, by rejection and without a table: an octave [2^j, 2^j+1) is
 * drawn with equal probability, a rank in it likewise, and kept with probability 2^j / rank. About 0.7 are kept.
 */
export class Zipf {
  /** log2 of the octave's first rank, from the draw's upper 16 bits. */
  @inline static octave(draw: u64, octaves: u32): u32 {
    return (<u32>(draw >> 48) * octaves) >> 16;
  }
  /** The rank, from the next 24 bits. */
  @inline static rank(draw: u64, octave: u32): u32 {
    return (1 << octave) + (((<u32>(draw >> 24)) & 0xffffff) >> (ZIPF_BITS_MAX - octave));
  }
  /** Kept? From the lower 24 bits. */
  @inline static kept(draw: u64, octave: u32, rank: u32): bool {
    return (draw & 0xffffff) * <u64>rank < (<u64>1) << (octave + 24);
  }
}

/** The next rank of the actor's zipf workload, from 0. Advances the stream. */
export function nextZipf(drive: Drive): u32 {
  const octaves = 32 - clz(drive.steps);
  let rank: u32 = 0;
  while (true) {
    const draw = nextRandom(drive);
    const octave = Zipf.octave(draw, octaves);
    rank = Zipf.rank(draw, octave);
    if (rank <= drive.steps && Zipf.kept(draw, octave, rank)) break;
  }
  return rank - 1;
}

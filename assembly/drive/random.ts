// xoroshiro128+ (Blackman and Vigna, 2018): the draw is one addition away from the state, so that it is at the head of a
// hot loop's chain of an address, a TLB line and the data, and costs it nothing. Its lowest bits are the weakest: what
// is drawn comes from above them. Seeds are spread by SplitMix64's mixing function.
//
//   draw   s0 + s1
//   step   s1 ^= s0 ; s0 = rotl(s0, 24) ^ s1 ^ (s1 << 16) ; s1 = rotl(s1, 37)

import { ACTOR_DRIVE } from "../layout/actor";
import { Drive } from "../layout/drive";
import { Map } from "../layout/map";

/** 2^64 divided by the golden ratio: sets seeds apart before they are mixed. */
const GOLDEN: u64 = 0x9e3779b97f4a7c15;

export class Random {
  /** A number that looks unlike its neighbours': a bijection. */
  @inline static mix(value: u64): u64 {
    let x = value + GOLDEN;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
  /** The next first word of the state; `mixed` is s0 ^ s1. */
  @inline static first(s0: u64, mixed: u64): u64 {
    return rotl<u64>(s0, 24) ^ mixed ^ (mixed << 16);
  }
  /** The next second word. */
  @inline static second(mixed: u64): u64 {
    return rotl<u64>(mixed, 37);
  }
  /** Uniform in [0, n), from the upper half of a draw. */
  @inline static below(draw: u64, n: u32): u32 {
    return <u32>(((draw >> 32) * <u64>n) >> 32);
  }
  /** 16 bits that `below` does not use. */
  @inline static share(draw: u64): u32 {
    return (<u32>draw) >> 16;
  }
}

/** One draw, for loops that are not hot. */
export function nextRandom(drive: Drive): u64 {
  const s0 = drive.random0;
  const s1 = drive.random1;
  drive.random0 = Random.first(s0, s0 ^ s1);
  drive.random1 = Random.second(s0 ^ s1);
  return s0 + s1;
}

/** Starts an actor's stream: each actor of a seed has its own. */
export function seedRandom(actor: usize, seed: u64): void {
  const drive = changetype<Drive>(actor + ACTOR_DRIVE);
  const stream = Random.mix(seed) + Map.actorIndex(actor);
  drive.random0 = Random.mix(stream);
  // Not both words are 0, which is the one state that leads nowhere.
  drive.random1 = Random.mix(~stream) | 1;
}

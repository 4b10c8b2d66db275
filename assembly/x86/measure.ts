// Kernels for bench/: many walks in a loop that never leaves the core. The order is that of a seeded xorshift
// generator, and the result is a digest, so that a native program which walks the same tables can be compared.

import { Access } from "../layout/walk";
import { ENDED, Translation } from "./rights";
import { denyQuiet, translateTables } from "./tables";
import { Tlb } from "./tlb";
import { guestFast, guestNestedFast } from "./walk";

/** What is repeated. */
export enum Measure {
  /** Guest walk, no TLB. */
  Walk = 0,
  /** Guest walk over EPT, 24 references, no TLB. */
  NestedWalk = 1,
  /** TLB hit and a load of 8 bytes. */
  TlbLoad = 2,
  /** Guest walk in windows, by way of the table cache. */
  Tables = 3,
}

/** Not a digest: a walk of the run failed. */
export const MEASURE_FAILED: u64 = u64.MAX_VALUE;

class Kernel {
  /**
   * `count` reads of `mask + 1` pages from `base`. Dependent: each address is known only when the read before it is
   * done. Both constants fold, and with them the dependency itself: a run-time switch would keep it.
   */
  @inline static run(
    what: Measure,
    dependent: bool,
    vcpu: usize,
    base: u64,
    mask: u64,
    count: u32,
    seed: u64,
  ): u64 {
    let x = seed;
    let last: u64 = 0;
    let digest: u64 = 0;
    const deny = denyQuiet(vcpu, Access.Read);
    for (let i: u32 = 0; i < count; i++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      const index = dependent ? x ^ (last >> 12) : x;
      const gva = base + ((index & mask) << 12);
      let value: u64;
      if (what == Measure.TlbLoad) {
        const host = Tlb.hit(vcpu, gva, Access.Read);
        if (host == 0) return MEASURE_FAILED;
        value = load<u64>(host);
      } else if (what == Measure.Tables) {
        const t = translateTables(vcpu, gva);
        if (t == 0 || Translation.denies(t, deny)) return MEASURE_FAILED;
        value = Translation.page(t);
      } else {
        const t =
          what == Measure.Walk ? guestFast(vcpu, gva, Access.Read) : guestNestedFast(vcpu, gva, Access.Read);
        if (t <= ENDED) return MEASURE_FAILED;
        value = Translation.page(t);
      }
      digest += value;
      if (dependent) last = value;
    }
    return digest;
  }
}

function walkDependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.Walk, true, vcpu, base, mask, count, seed);
}
function walkIndependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.Walk, false, vcpu, base, mask, count, seed);
}
function nestedDependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.NestedWalk, true, vcpu, base, mask, count, seed);
}
function nestedIndependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.NestedWalk, false, vcpu, base, mask, count, seed);
}
function tlbDependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.TlbLoad, true, vcpu, base, mask, count, seed);
}
function tlbIndependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.TlbLoad, false, vcpu, base, mask, count, seed);
}
function tablesDependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.Tables, true, vcpu, base, mask, count, seed);
}
function tablesIndependent(vcpu: usize, base: u64, mask: u64, count: u32, seed: u64): u64 {
  return Kernel.run(Measure.Tables, false, vcpu, base, mask, count, seed);
}

/** Runs a kernel over `pages` (a power of two) pages from `base`. */
export function measure(
  what: Measure,
  dependent: bool,
  vcpu: usize,
  base: u64,
  pages: u32,
  count: u32,
  seed: u64,
): u64 {
  const mask: u64 = <u64>pages - 1;
  switch (what) {
    case Measure.Walk:
      return dependent
        ? walkDependent(vcpu, base, mask, count, seed)
        : walkIndependent(vcpu, base, mask, count, seed);
    case Measure.NestedWalk:
      return dependent
        ? nestedDependent(vcpu, base, mask, count, seed)
        : nestedIndependent(vcpu, base, mask, count, seed);
    case Measure.TlbLoad:
      return dependent
        ? tlbDependent(vcpu, base, mask, count, seed)
        : tlbIndependent(vcpu, base, mask, count, seed);
    case Measure.Tables:
      return dependent
        ? tablesDependent(vcpu, base, mask, count, seed)
        : tablesIndependent(vcpu, base, mask, count, seed);
    default:
      return MEASURE_FAILED;
  }
}

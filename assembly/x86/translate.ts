// Translation as the rest of the core uses it: TLB, then the walk of whatever dimensions there are, then the TLB again.

import { CPU_CR4, CPU_DENY, CPU_NESTED_MODE, CPU_SHAPE, Shape } from "../layout/cpu";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { Stat, Stats } from "../layout/stats";
import {
  Access,
  Outcome,
  WALK_ERROR,
  WALK_GPA,
  WALK_GVA,
  WALK_NESTED_MODE,
  WALK_OUTCOME,
  WALK_PA,
  WALK_RIGHTS,
  WALK_SHIFT,
  WALK_STEP_COUNT,
} from "../layout/walk";
import { Choice } from "./choice";
import { CR4_PGE, EPT_VIOLATION_READ, PTE_ADDRESS } from "./bits";
import { Memory, Policy } from "./memory";
import { ENDED, OBSTACLE_USER, TRANSLATION_GLOBAL, Translation } from "./rights";
import { Structures } from "./structures";
import { Tlb, tlbDropAddress, tlbDropGpa, tlbFill, tlbSecondLook, tlbStaleRights } from "./tlb";
import {
  Kind,
  endAtHole,
  endSpuriously,
  guestFast,
  guestLoop,
  guestNestedFast,
  nestedFast,
  nestedLoop,
} from "./walk";

export class Translate {
  /**
   * Address in this memory of the byte at `gva`, if the TLB has it and the access is allowed; else 0: call
   * `translateMiss`. The address is good for the bytes up to the end of the 4-KByte page.
   */
  @inline static hit(vcpu: usize, gva: u64, access: Access): usize {
    return Tlb.hit(vcpu, gva, access);
  }
}

/** The form without frills, of the dimensions in force; 0 if it does not apply, ENDED at an EPT violation. */
function walkFast(vcpu: usize, gva: u64, access: Access): u64 {
  const shape = load<u32>(vcpu + CPU_SHAPE);
  if (shape == Shape.Both) return guestNestedFast(vcpu, gva, access);
  if (shape == Shape.Guest) return guestFast(vcpu, gva, access);
  if (shape == Shape.None) return 0;
  const t = nestedFast(vcpu, gva);
  if (t == 0) return endAtHole(vcpu, gva, gva & ~(<u64>0xfff), access, identity(gva));
  return Translation.denies(t, Kind.deny(vcpu, access)) ? 0 : t | OBSTACLE_USER;
}

/** Width of the address that a `Translation` holds. */
const ADDRESS_BITS: u64 = 52;

/** The address itself as a translation: of a vCPU without paging. Nested tables take it for one of user mode (29.3.3.2). */
function identity(gva: u64): u64 {
  return Translation.make(gva & PTE_ADDRESS, OBSTACLE_USER, 0, 0);
}

/** Walks in the loop form and fills the record; returns the translation, or 0. Without `asks` the nested tables owe no right. */
function walkRecorded(
  policy: Policy,
  vcpu: usize,
  gva: u64,
  access: Access,
  effects: bool,
  asks: bool = true,
): u64 {
  const shape = load<u32>(vcpu + CPU_SHAPE);
  store<u64>(vcpu + WALK_GVA, gva);
  store<u64>(vcpu + WALK_GPA, gva);
  store<u32>(vcpu + WALK_STEP_COUNT, 0);
  store<u32>(vcpu + WALK_NESTED_MODE, load<u32>(vcpu + CPU_NESTED_MODE));
  let t = identity(gva);
  if (shape == Shape.None && gva >> ADDRESS_BITS) {
    // Without paging there is no such address. Nested tables find that out for themselves.
    store<u32>(vcpu + WALK_OUTCOME, Outcome.GeneralProtection);
    store<u64>(vcpu + WALK_ERROR, 0);
    return 0;
  }
  if (shape & Shape.Guest) {
    t = guestLoop(policy, vcpu, gva, access, effects);
    if (t == 0) return 0;
    store<u64>(vcpu + WALK_GPA, Translation.page(t) | (gva & 0xfff));
  }
  if (shape & Shape.Nested) {
    const gpa = load<u64>(vcpu + WALK_GPA);
    const bits = asks ? Kind.nested(access) : 0;
    const nested = nestedLoop(policy, vcpu, gpa, bits, t, effects, true);
    if (nested == 0) return 0;
    t = shape & Shape.Guest ? Translation.combine(t, nested) : nested | OBSTACLE_USER;
  }
  store<u64>(vcpu + WALK_PA, Translation.page(t) | (gva & 0xfff));
  store<u64>(vcpu + WALK_RIGHTS, Translation.obstacles(t));
  store<u32>(vcpu + WALK_SHIFT, 12 + 9 * Translation.size(t));
  store<u32>(vcpu + WALK_OUTCOME, Outcome.Ok);
  return t;
}

/** As `walkRecorded` in frames, and the page must be one of them. */
export function walkFrames(vcpu: usize, gva: u64, access: Access, effects: bool): u64 {
  const t = walkRecorded(Policy.Frames, vcpu, gva, access, effects);
  if (t == 0 || Translation.page(t) < Memory.limit) return t;
  store<u32>(vcpu + WALK_OUTCOME, Outcome.Missing);
  return 0;
}

/** Enters the translation in the TLB: as a global one only while CR4.PGE is set. */
export function enter(vcpu: usize, gva: u64, t: u64): usize {
  const pge = (load<u32>(vcpu + CPU_CR4) & (<u32>CR4_PGE)) != 0;
  return tlbFill(vcpu, gva, pge ? t : t & ~TRANSLATION_GLOBAL);
}

/** True, with the record filled in, if the processor faults by an entry that says less than the tables. */
function faultsSpuriously(vcpu: usize, gva: u64, access: Access): bool {
  if (!Map.has(MachineOption.ArchitecturalTlb)) return false;
  const rights = tlbStaleRights(vcpu, gva, access);
  if (rights == 0 || walkFrames(vcpu, gva, access, false) == 0) return false;
  if (!Choice.may()) return false;
  endSpuriously(vcpu, access, rights);
  return true;
}

/**
 * After a miss of `Translate.hit`: walks, sets accessed and dirty flags, fills the TLB. Returns the address of the byte
 * in this memory, or 0 with the record of the walk filled in (`Walk`: outcome, error, gva, gpa).
 */
export function translateMiss(vcpu: usize, gva: u64, access: Access): usize {
  const held = tlbSecondLook(vcpu, gva, access);
  if (held) return held;
  if (LAB && faultsSpuriously(vcpu, gva, access)) {
    dropAfterFault(vcpu, gva);
    return 0;
  }
  Stats.add(vcpu, Stat.Walks, 1);
  let t: u64 = Structures.on(vcpu) ? 0 : walkFast(vcpu, gva, access);
  if (t == 0) t = walkFrames(vcpu, gva, access, true);
  if (t > ENDED) return enter(vcpu, gva, t);
  dropAfterFault(vcpu, gva);
  return 0;
}

/**
 * A fault drops what the TLB has of the page (4.10.4.1); an exit that the nested tables caused does so too, and drops what
 * is cached of the guest-physical address (29.4.3.1).
 */
function dropAfterFault(vcpu: usize, gva: u64): void {
  tlbDropAddress(vcpu, gva);
  const outcome = load<u32>(vcpu + WALK_OUTCOME);
  if (outcome == Outcome.EptViolation || outcome == Outcome.NestedPageFault) {
    tlbDropGpa(vcpu, load<u64>(vcpu + WALK_GPA));
  }
}

/** Walks and records every step, with flags and TLB as an access would leave them. */
export function translateRecorded(vcpu: usize, gva: u64, access: Access): Outcome {
  const t = walkFrames(vcpu, gva, access, true);
  if (t) enter(vcpu, gva, t);
  else dropAfterFault(vcpu, gva);
  return load<u32>(vcpu + WALK_OUTCOME);
}

/** Walks and records every step; nothing else changes. */
export function translateQuiet(vcpu: usize, gva: u64, access: Access): Outcome {
  walkFrames(vcpu, gva, access, false);
  return load<u32>(vcpu + WALK_OUTCOME);
}

/**
 * Looks up in windows where an address leads, whoever may go there: no right is asked for. A violation is told as that of a
 * read.
 */
export function lookUpWindows(vcpu: usize, gva: u64): Outcome {
  const deny = vcpu + CPU_DENY + ((<usize>Access.Read) << 3);
  const before = load<u64>(deny);
  store<u64>(deny, 0);
  walkRecorded(Policy.Windows, vcpu, gva, Access.Read, false, false);
  store<u64>(deny, before);
  const outcome: Outcome = load<u32>(vcpu + WALK_OUTCOME);
  if (outcome == Outcome.EptViolation) {
    store<u64>(vcpu + WALK_ERROR, load<u64>(vcpu + WALK_ERROR) | EPT_VIOLATION_READ);
  }
  return outcome;
}

/** Walks tables that lie in windows; the TLB has no part in it. `Missing`: put `Walk.pa` in a window and walk again. */
export function translateWindows(vcpu: usize, gva: u64, access: Access, effects: bool): Outcome {
  walkRecorded(Policy.Windows, vcpu, gva, access, effects);
  return load<u32>(vcpu + WALK_OUTCOME);
}

// A processor's page walker as an actor of its own: it reads tables whenever its vCPU is in guest mode, level by level,
// sets accessed and dirty flags, and fills the TLB, at moments that the guest's instructions do not choose. Lab build only.
//
// It walks with a copy of the vCPU's registers, in the block of an actor of its own, so that the vCPU's record of its
// last walk stays as it is. It leaves the walk cache alone: a walk that reads every entry is always allowed.
//
// Each of its accesses, and the fill, is one step of hardware with the look whether the vCPU is still in guest mode
// (x86/speculation.ts); so is the copy of the registers. A walk that began before an invalidation neither goes on nor
// fills after it (SDM vol. 3A 4.10.4.1, vol. 3C 29.4.3.1): the generation, the context and the count of single
// invalidations tell.
//
// The words of TLBs, of walk caches and of the CPU part of an actor's block are inside of a processor: between two accesses
// to other words they are read and written at once, so they are no places for another actor to act at. That makes a
// vCPU's lookup and its use of what it found one step with respect to its walker.

import { ACTOR_CPU } from "../layout/actor";
import {
  CPU_NO_WALK_CACHE,
  CPU_STRUCTURES_BASE,
  CPU_WALKS_FOR,
  CPU_WALK_CACHE_BASE,
  CPU_WALK_CACHE_MASK,
  Cpu,
} from "../layout/cpu";
import { Access } from "../layout/walk";
import { Note, Notes } from "../note";
import { Speculation, runsGuest } from "./speculation";
import { enter, walkFrames } from "./translate";

/** Takes the registers over; no row of a walk cache comes with them. */
function copyRegisters(actor: usize, vcpu: usize): void {
  memory.copy(actor + ACTOR_CPU, vcpu + ACTOR_CPU, offsetof<Cpu>());
  store<u32>(actor + CPU_WALK_CACHE_BASE, <u32>(actor + CPU_NO_WALK_CACHE));
  store<u32>(actor + CPU_WALK_CACHE_MASK, 0);
  store<u64>(actor + CPU_NO_WALK_CACHE, 0);
  store<u64>(actor + CPU_NO_WALK_CACHE, 0, 8);
  store<u32>(actor + CPU_STRUCTURES_BASE, 0);
  store<u32>(actor + CPU_WALKS_FOR, <u32>vcpu);
}

/** Walks with the registers that were copied; returns whether it has filled the TLB of `vcpu`. */
function walkAndFill(actor: usize, vcpu: usize, gva: u64, access: Access): bool {
  const t = walkFrames(actor, gva, access, true);
  if (t == 0 || !Speculation.begin(actor)) return false;
  enter(vcpu, gva, t);
  Speculation.end(actor);
  return true;
}

/**
 * Walks for `access` at `gva` as the hardware of `vcpu` and fills its TLB; returns whether it did. A write sets dirty
 * flags too, as for a store in flight. `actor` is no vCPU.
 */
export function speculate(actor: usize, vcpu: usize, gva: u64, access: Access): bool {
  Notes.tell(Note.AtomicBegin, 0, 0);
  const runs = runsGuest(vcpu);
  if (runs) copyRegisters(actor, vcpu);
  Notes.tell(Note.AtomicEnd, 0, 0);
  if (!runs) return false;
  const fills = walkAndFill(actor, vcpu, gva, access);
  store<u32>(actor + CPU_WALKS_FOR, 0);
  return fills;
}

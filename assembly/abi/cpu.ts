// Processor: registers, translation, TLB, windows. A vCPU is named by its index.

import { ACTOR_FAULT } from "../layout/actor";
import { Register, RegisterWrite } from "../layout/cpu";
import { Fault } from "../layout/fault";
import { Map } from "../layout/map";
import { Access, Outcome, WALK_ERROR, WALK_OUTCOME } from "../layout/walk";
import { beginRun, endRun } from "../kvm/vcpu";
import {
  invalidateEpt,
  invalidateOnVmTransition,
  invalidatePage,
  invalidatePcid,
  invalidateVpid,
  loadEptp,
  readRegister,
  resetCpu,
  writeRegister,
} from "../x86/cpu";
import { Measure, measure } from "../x86/measure";
import { clearWindows, findWindow, putWindow } from "../x86/memory";
import { tlbFlushAll, tlbFlushEpt, tlbFlushNonGlobal, tlbFlushVpid } from "../x86/tlb";
import {
  Translate,
  translateMiss,
  translateQuiet,
  translateRecorded,
  translateWindows,
} from "../x86/translate";

/**
 * A vCPU that has run is KVM's: it translates in guest mode, so that a flush waits for it. One that never has is a
 * processor on its own, with its tables in frames, and has nobody to wait for.
 */
class Managed {
  @inline static is(actor: usize): bool {
    return changetype<Fault>(actor + ACTOR_FAULT).managed != 0;
  }
  /** False: it may not enter guest mode, and the `Walk` says why. */
  @inline static begin(actor: usize): bool {
    return !Managed.is(actor) || beginRun(actor);
  }
  @inline static end(actor: usize): void {
    if (Managed.is(actor)) endRun(actor);
  }
}

/** Sets the vCPU up as after INIT: protected mode without paging, TLB empty. Its EPT root stays loaded. */
export function cpuReset(vcpu: u32): void {
  const actor = Map.actor(vcpu);
  resetCpu(actor);
  const root = changetype<Fault>(actor + ACTOR_FAULT).root;
  if (root) loadEptp(actor, root);
}

/** Writes a `Register` as the instruction that loads it would, with its checks and its flushes. */
export function registerWrite(vcpu: u32, register: Register, value: u64): RegisterWrite {
  return writeRegister(Map.actor(vcpu), register, value);
}

/** Reads a `Register`. */
export function registerRead(vcpu: u32, register: Register): u64 {
  return readRegister(Map.actor(vcpu), register);
}

/**
 * Walks for one access, past the TLB, and records every step in the vCPU's `Walk`. With `effects` it sets accessed and
 * dirty flags and enters the TLB as an access would; without, it changes nothing.
 */
export function translate(vcpu: u32, gva: u64, access: Access, effects: bool): Outcome {
  const actor = Map.actor(vcpu);
  if (!Managed.begin(actor)) return load<u32>(actor + WALK_OUTCOME);
  const outcome = effects ? translateRecorded(actor, gva, access) : translateQuiet(actor, gva, access);
  Managed.end(actor);
  return outcome;
}

/** As `translate`, for tables in windows. `Missing` names the physical address to be put into one (`windowPut`). */
export function translateInWindows(vcpu: u32, gva: u64, access: Access, effects: bool): Outcome {
  return translateWindows(Map.actor(vcpu), gva, access, effects);
}

/** Set in a result of `translateBatch` that is no address: the `Outcome` is in bits 7:0, `Walk.error` in 62:16. */
export const BATCH_FAILED: u64 = 1 << 63;

/**
 * Translates `count` linear addresses (u64) in the vCPU's batch buffer through the TLB, as accesses would, and puts a
 * result in the place of each: a physical address, or BATCH_FAILED and why. Returns how many were translated.
 */
export function translateBatch(vcpu: u32, count: u32, access: Access): u32 {
  const actor = Map.actor(vcpu);
  if (!Managed.begin(actor)) return 0;
  const batch = Map.batch(actor);
  let done: u32 = 0;
  for (let i: u32 = 0; i < count && (i + 1) << 3 <= Map.batchSize; i++) {
    const at = batch + ((<usize>i) << 3);
    const gva = load<u64>(at);
    let host = Translate.hit(actor, gva, access);
    if (host == 0) host = translateMiss(actor, gva, access);
    if (host) done++;
    store<u64>(
      at,
      host
        ? <u64>(host - Map.frame(0))
        : BATCH_FAILED | load<u32>(actor + WALK_OUTCOME) | (load<u64>(actor + WALK_ERROR) << 16),
    );
  }
  Managed.end(actor);
  return done;
}

/** INVLPG: #GP(0) unless the CPL is 0; an address that is not canonical does nothing. */
export function invlpg(vcpu: u32, gva: u64): RegisterWrite {
  return invalidatePage(Map.actor(vcpu), gva);
}

/**
 * INVPCID: `type` is 0 for an individual address, 1 for a PCID, 2 for all with global entries, 3 for all without; `low` is the
 * descriptor's lower half (the PCID), `gva` the upper. #GP(0) by the rules of the SDM, vol. 2A.
 */
export function invpcid(vcpu: u32, type: u64, low: u64, gva: u64): RegisterWrite {
  return invalidatePcid(Map.actor(vcpu), type, low, gva);
}

/** INVEPT: `type` 1 is a single context, that of EPT pointer `eptp`; 2 is all contexts. */
export function invept(vcpu: u32, type: u64, eptp: u64): RegisterWrite {
  return invalidateEpt(Map.actor(vcpu), type, eptp);
}

/**
 * INVVPID: `type` is 0 for an individual address, 1 for a VPID, 2 for all VPIDs but 0000H, 3 for a VPID without global
 * entries; `low` is the descriptor's lower half (the VPID), `gva` the upper. Of an ASID, AMD's INVLPGA and TLB_CONTROL.
 */
export function invvpid(vcpu: u32, type: u64, low: u64, gva: u64): RegisterWrite {
  return invalidateVpid(Map.actor(vcpu), type, low, gva);
}

/** What a VM entry or VM exit with the VM-execution control "enable VPID" 0 does to the TLB. */
export function vmTransition(vcpu: u32): void {
  invalidateOnVmTransition(Map.actor(vcpu));
}

/** Extents of `tlbFlush`. */
export enum Flush {
  /** Everything, global entries and cached table addresses included. */
  All = 0,
  /** All but global entries. */
  NonGlobal = 1,
  /** INVVPID, single context: `argument` is the VPID. */
  Vpid = 2,
  /** INVEPT, single context: `argument` is the EPTP. */
  Ept = 3,
}

/** Drops TLB entries of this vCPU, to the `Flush` extent named. */
export function tlbFlush(vcpu: u32, extent: Flush, argument: u64): void {
  const actor = Map.actor(vcpu);
  switch (extent) {
    case Flush.NonGlobal:
      tlbFlushNonGlobal(actor);
      break;
    case Flush.Vpid:
      tlbFlushVpid(actor, <u32>argument, false);
      break;
    case Flush.Ept:
      tlbFlushEpt(actor, argument);
      break;
    default:
      tlbFlushAll(actor);
      break;
  }
}

/** Address of the byte at `gva` if the TLB has it and allows the access, 0 if not: for tests of the TLB. */
export function tlbProbe(vcpu: u32, gva: u64, access: Access): u32 {
  return <u32>Translate.hit(Map.actor(vcpu), gva, access);
}

/** Address of the byte at `gva`, through the TLB and a walk if need be; 0 if it failed, and the `Walk` says why. */
export function tlbAccess(vcpu: u32, gva: u64, access: Access): u32 {
  const actor = Map.actor(vcpu);
  if (!Managed.begin(actor)) return 0;
  let host = Translate.hit(actor, gva, access);
  if (host == 0) host = translateMiss(actor, gva, access);
  Managed.end(actor);
  return <u32>host;
}

/** A window for the physical page of `pa`: returns the address of 4 KiB to fill, 0 if the machine has no windows. */
export function windowPut(pa: u64): u32 {
  return <u32>putWindow(pa);
}

/** Address of the copy of physical address `pa`, 0 if no window holds it. */
export function windowFind(pa: u64): u32 {
  return <u32>findWindow(pa);
}

/** Drops all windows. */
export function windowClear(): void {
  clearWindows();
}

/**
 * For benchmarks: repeats a `Measure` over `pages` (a power of two) pages from `base`, in the order of a xorshift
 * generator, each address dependent on the result before or not. Returns a digest, all ones if a walk failed.
 */
export function measureWalk(
  vcpu: u32,
  what: Measure,
  dependent: bool,
  base: u64,
  pages: u32,
  count: u32,
  seed: u64,
): u64 {
  return measure(what, dependent, Map.actor(vcpu), base, pages, count, seed);
}

// The page fault of the TDP MMU (docs/protocol.md): snapshot, resolve, commit. The three are the only fault path; the
// lab build exports them one by one.

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import { KVM_INVALIDATE_IN_PROGRESS, KVM_INVALIDATE_SEQ, KVM_INVALIDATE_WAITERS } from "../layout/kvm";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { MM_BASE } from "../layout/mm";
import { PAGE_FLAGS, PageFlag } from "../layout/page";
import { Slot, SlotFlag } from "../layout/slot";
import { Stat, Stats } from "../layout/stats";
import { GUP_NO_REFERENCE, Gup, gup, hostMappingShift } from "../host/gup";
import { headOf, putPage } from "../host/page";
import { HostStatus } from "../host/status";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Barrier, Ops, Order } from "../sync/ops";
import { park, relax } from "../sync/wait";
import { MmuLock } from "./lock";
import { findSlot } from "./memslots";
import { RetryReason, retryReason } from "./retry";
import { Root } from "./roots";
import { reapTables, topUpOrReap } from "./tables";
import { Installed, installLeafLocked } from "./tdp";

/** RET_PF_*: what became of a fault. */
export enum FaultResult {
  /** A leaf was installed. */
  Fixed = 0,
  /** The leaf was there already. */
  Spurious = 1,
  /** Start again: an invalidation is open. Wait for its end first. */
  RetryCount = 2,
  /** Start again: an invalidation completed meanwhile. */
  RetrySeq = 3,
  /** Start again: the root is obsolete, or the slot is being changed. */
  RetryRoot = 4,
  /** Start again: another actor changed a table entry first. */
  RetryRace = 5,
  /** No slot, or a write to a read-only one: the embedder emulates it. */
  Mmio = 6,
  /** No VMA behind the slot, or one that does not allow the access: -EFAULT. */
  HostFault = 7,
  /** No frame to be had. */
  OutOfFrames = 8,
  /** From snapshot and resolve only: go on. */
  Continue = 9,
}

/** The most tables one fault links: three below the root of a 4-level tree. */
const TABLES_PER_FAULT: u32 = 3;

/** Step 1: mmu_invalidate_seq, before anything is looked up. */
export function snapshot(vcpu: usize): void {
  if (!Rules.hold(Rule.HostLevelAfterCheck)) sampleLevelEarly(vcpu);
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  fault.seq = Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed);
  // Pairs with the write barrier in invalidateEnd: whoever sees the old sequence looks the page up before the end.
  Ops.barrier(Barrier.Rmb);
}

/** The level as E2019 took it for hugetlb: before the snapshot, so that a remap until then goes unnoticed (Z25b). */
function sampleLevelEarly(vcpu: usize): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  const row = findSlot(vcpu, fault.gfn);
  if (row == 0) return;
  const slot = changetype<Slot>(row);
  fault.earlyShift = hostMappingShift(vcpu, MM_BASE, slot.hva + ((fault.gfn - slot.baseGfn) << 12));
}

/** Step 2: slot, hva, pfn. On `Continue` a reference on the page is held. SRCU is held. */
export function resolve(vcpu: usize): FaultResult {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  const row = findSlot(vcpu, fault.gfn);
  if (row == 0) return FaultResult.Mmio;
  const slot = changetype<Slot>(row);
  if (slot.flags & SlotFlag.Invalid) {
    return Rules.hold(Rule.InvalidSlotRetries) ? FaultResult.RetryRoot : FaultResult.Mmio;
  }
  if (fault.write && slot.flags & SlotFlag.ReadOnly) return FaultResult.Mmio;
  fault.slot = <u32>row;
  fault.hva = slot.hva + ((fault.gfn - slot.baseGfn) << 12);
  if (Profiles.has(Switch.PreCheck)) {
    const stale = preCheck(vcpu);
    if (stale != FaultResult.Continue) return stale;
  }
  return faultinPfn(vcpu, fault);
}

/** The unlocked look at the retry state: spares a gup and the lock, decides nothing. */
function preCheck(vcpu: usize): FaultResult {
  // Z30: without it, faults contend for the lock that a long zap keeps giving up.
  return retryResult(retryReason(vcpu));
}

function retryResult(reason: RetryReason): FaultResult {
  if (reason == RetryReason.None) return FaultResult.Continue;
  return reason == RetryReason.Count ? FaultResult.RetryCount : FaultResult.RetrySeq;
}

function faultinPfn(vcpu: usize, fault: Fault): FaultResult {
  let found = gup(vcpu, MM_BASE, fault.hva, fault.write != 0);
  if (Gup.status(found) == HostStatus.OutOfFrames) {
    reapTables(vcpu);
    found = gup(vcpu, MM_BASE, fault.hva, fault.write != 0);
  }
  const status = Gup.status(found);
  if (status != HostStatus.Ok) {
    return status == HostStatus.OutOfFrames ? FaultResult.OutOfFrames : FaultResult.HostFault;
  }
  fault.pfn = Gup.pfn(found);
  fault.hostWritable = Gup.writable(found) ? 1 : 0;
  fault.unreferenced = (found & GUP_NO_REFERENCE) != 0 ? 1 : 0;
  if (fault.unreferenced == 0 && !Rules.hold(Rule.PutAfterInstall)) putPage(Map.page(fault.pfn), vcpu);
  return FaultResult.Continue;
}

/** Gives back what resolve took. `installed`: the page is mapped now, and may be written through the mapping. */
function releasePage(vcpu: usize, fault: Fault, installed: bool): void {
  if (fault.unreferenced || !Rules.hold(Rule.PutAfterInstall)) return;
  const page = headOf(Map.page(fault.pfn));
  // The folio counts as dirty from the fault on: later the fast path may grant W and could not mark it.
  if (
    installed &&
    fault.hostWritable &&
    (Ops.load<u32>(page + PAGE_FLAGS, Order.Relaxed) & PageFlag.Dirty) == 0
  ) {
    Ops.or<u32>(page + PAGE_FLAGS, PageFlag.Dirty, Order.None);
  }
  if (installed || Rules.hold(Rule.PutOnRetry)) putPage(page, vcpu);
}

/** is_page_fault_stale, under mmu_lock. */
function staleLocked(vcpu: usize, fault: Fault): FaultResult {
  if (Rules.hold(Rule.ObsoleteRootChecked) && Root.invalid(fault.root)) return FaultResult.RetryRoot;
  if (!Rules.hold(Rule.RetryUnderLock)) return FaultResult.Continue;
  return retryResult(retryReason(vcpu));
}

/** kvm_mmu_hugepage_adjust: the size that slot and host allow, read after the retry check so that a split shows. */
function adjustToHost(vcpu: usize, fault: Fault): void {
  fault.goalShift = 12;
  if (!Map.has(MachineOption.HugePages)) return;
  const slot = changetype<Slot>(<usize>fault.slot);
  const first = fault.gfn & ~(<u64>511);
  // lpage_info: slot and hva congruent modulo 2 MiB, and the whole large page inside the slot.
  if (((slot.baseGfn << 12) ^ slot.hva) & 0x1fffff) return;
  if (first < slot.baseGfn || first + 512 > slot.baseGfn + slot.npages) return;
  const shift = Rules.hold(Rule.HostLevelAfterCheck)
    ? hostMappingShift(vcpu, MM_BASE, fault.hva)
    : fault.earlyShift;
  if (shift >= 21) fault.goalShift = 21;
}

/** Step 3: lock, check, install, release. */
export function commit(vcpu: usize): FaultResult {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  let stale = FaultResult.Continue;
  if (Profiles.has(Switch.PreCheck) || !Rules.hold(Rule.RetryUnderLock)) stale = preCheck(vcpu);
  if (stale != FaultResult.Continue) {
    releasePage(vcpu, fault, false);
    return stale;
  }
  MmuLock.lockShared(vcpu);
  stale = staleLocked(vcpu, fault);
  if (stale != FaultResult.Continue) {
    MmuLock.unlockShared(vcpu);
    releasePage(vcpu, fault, false);
    return stale;
  }
  if (!Rules.hold(Rule.LockHeldToInstall)) {
    MmuLock.unlockShared(vcpu);
    MmuLock.lockShared(vcpu);
  }
  adjustToHost(vcpu, fault);
  const installed = installLeafLocked(vcpu);
  releasePage(vcpu, fault, installed != Installed.Raced);
  MmuLock.unlockShared(vcpu);
  if (installed == Installed.Raced) return FaultResult.RetryRace;
  return installed == Installed.Fixed ? FaultResult.Fixed : FaultResult.Spurious;
}

/**
 * kvm_tdp_page_fault: one attempt at mapping the gfn of `gpa`. The vCPU is outside guest mode, in an SRCU section,
 * and has a root.
 */
export function pageFault(vcpu: usize, gpa: u64, write: bool): FaultResult {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  fault.gpa = gpa;
  fault.gfn = gpa >> 12;
  fault.write = write ? 1 : 0;
  Stats.add(vcpu, Stat.Faults, 1);
  const result = attempt(vcpu);
  count(vcpu, result);
  return result;
}

function attempt(vcpu: usize): FaultResult {
  // May sleep for memory: before the snapshot, and long before the lock.
  if (!topUpOrReap(vcpu, TABLES_PER_FAULT)) return FaultResult.OutOfFrames;
  let result: FaultResult;
  if (Rules.hold(Rule.SnapshotBeforeGup)) {
    snapshot(vcpu);
    result = resolve(vcpu);
  } else {
    // Its pre-check compares with the last fault's snapshot: take one that is current, then the late one.
    snapshot(vcpu);
    result = resolve(vcpu);
    snapshot(vcpu);
  }
  return result == FaultResult.Continue ? commit(vcpu) : result;
}

function count(vcpu: usize, result: FaultResult): void {
  switch (result) {
    case FaultResult.Fixed:
      Stats.add(vcpu, Stat.FaultsFixed, 1);
      break;
    case FaultResult.Spurious:
      Stats.add(vcpu, Stat.FaultsSpurious, 1);
      break;
    case FaultResult.RetryCount:
      Stats.add(vcpu, Stat.RetriesCount, 1);
      break;
    case FaultResult.RetrySeq:
      Stats.add(vcpu, Stat.RetriesSeq, 1);
      break;
    case FaultResult.RetryRoot:
      Stats.add(vcpu, Stat.RetriesRoot, 1);
      break;
    case FaultResult.RetryRace:
      Stats.add(vcpu, Stat.RetriesRace, 1);
      break;
    case FaultResult.Mmio:
      Stats.add(vcpu, Stat.Mmio, 1);
      break;
    default:
      Stats.add(vcpu, Stat.FaultErrors, 1);
      break;
  }
}

/** True while the invalidation that the failed check met may still be open. */
function stillOpen(fault: Fault): bool {
  if (Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Acquire) == 0) return false;
  return Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Acquire) == fault.waitSeq;
}

/**
 * After RetryCount: waits until an invalidation has ended, outside of SRCU and of every lock. On the sequence and not on
 * the count, which others may lower and raise again while this vCPU sleeps. The unlocked check may have read the
 * sequence raised and the count not yet lowered: then the count falls to 0, or another end raises the sequence.
 */
export function waitForInvalidation(vcpu: usize): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  if (Map.has(MachineOption.SpinOnRetry) || !stillOpen(fault)) return;
  Stats.add(vcpu, Stat.RetryWaits, 1);
  for (let i: u32 = 0; i < Map.spinLimit; i++) {
    relax(vcpu);
    if (!stillOpen(fault)) return;
  }
  // Announce, then look again: pairs with count-then-waiters in invalidateEnd.
  Ops.add<u32>(KVM_INVALIDATE_WAITERS, 1, Order.Full);
  while (stillOpen(fault)) park(KVM_INVALIDATE_SEQ, fault.waitSeq, vcpu);
  Ops.sub<u32>(KVM_INVALIDATE_WAITERS, 1, Order.Full);
}

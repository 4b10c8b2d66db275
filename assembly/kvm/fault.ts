// The page fault of the TDP MMU (docs/protocol.md): snapshot, resolve, commit. The three are the only fault path; the
// lab build exports them one by one.

import { ACTOR_FAULT } from "../layout/actor";
import { GRACE_MMAP_READER } from "../layout/control";
import { Fault } from "../layout/fault";
import { CONTROL_REQUESTS } from "../layout/control";
import {
  KVM_GENERATION,
  KVM_INVALIDATE_ENDS,
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_INVALIDATE_SEQ,
  KVM_INVALIDATE_WAITERS,
} from "../layout/kvm";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { MM_BASE, MM_MMAP_LOCK, Vma, VmaFlag } from "../layout/mm";
import { PageFlag } from "../layout/page";
import { Slot, SlotFlag } from "../layout/slot";
import { Stat, Stats } from "../layout/stats";
import { GUP_NO_REFERENCE, Gup } from "../host/fault";
import { hostMappingShift } from "../host/gup";
import { headOf } from "../host/page";
import { HostStatus } from "../host/status";
import { Note, Notes } from "../note";
import { findVma } from "../host/vma";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Srcu } from "../sync/grace";
import { Barrier, Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { park, relax } from "../sync/wait";
import { MmuLock } from "./lock";
import { Slots, findSlot } from "./memslots";
import { lookUp, markDirty, putFound, readFlags } from "./release";
import { RetryReason, retryReason } from "./retry";
import { Root } from "./roots";
import { topUpOrReap } from "./tables";
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

/** lpage_info: slot and hva congruent modulo 2 MiB, and the whole large page around `gfn` inside the slot. */
function slotAllowsHuge(slot: Slot, gfn: u64): bool {
  if (((slot.baseGfn << 12) ^ slot.hva) & 0x1fffff) return false;
  const first = gfn & ~(<u64>511);
  return first >= slot.baseGfn && first + 512 <= slot.baseGfn + slot.npages;
}

/** vma_kernel_pagesize, as its log2: the page size of hugetlb, else 12. */
function vmaPageShift(actor: usize, hva: u64): u32 {
  const lock = MM_BASE + MM_MMAP_LOCK;
  RwLock.readLock(lock, GRACE_MMAP_READER, actor);
  const row = findVma(actor, MM_BASE, hva);
  let shift: u32 = 12;
  if (row && changetype<Vma>(row).flags & VmaFlag.Hugetlb) shift = changetype<Vma>(row).pageShift;
  RwLock.readUnlock(lock, GRACE_MMAP_READER, actor);
  return shift;
}

/**
 * mapping_level of 5.4: the size of a hugetlb mapping, from the VMA, before the snapshot, so that a remap until then goes
 * unnoticed (Z25b). A large size is what will be installed, of the large page around the gfn. In an SRCU section.
 */
export function levelFromVma(vcpu: usize): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  fault.vmaShift = 0;
  if (!Profiles.has(Switch.LevelFromVma) || !Map.has(MachineOption.HugePages)) return;
  const row = findSlot(vcpu, fault.gfn);
  if (row == 0) return;
  const slot = changetype<Slot>(row);
  if (slot.flags & SlotFlag.Invalid || !slotAllowsHuge(slot, fault.gfn)) return;
  if (vmaPageShift(vcpu, slot.hva + ((fault.gfn - slot.baseGfn) << 12)) < 21) return;
  fault.vmaShift = 21;
  fault.gfn &= ~(<u64>511);
}

/** Step 1: mmu_invalidate_seq, before anything is looked up. */
export function snapshot(vcpu: usize): void {
  if (!Rules.hold(Rule.HostLevelAfterCheck)) sampleLevelEarly(vcpu);
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  fault.seq = Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed);
  // Pairs with the write barrier in invalidateEnd: whoever sees the old sequence looks the page up before the end.
  if (Rules.hold(Rule.SnapshotBarrier)) Ops.barrier(Barrier.Rmb);
}

/** What maps the page, from the host's tables but before the snapshot: only without Rule.HostLevelAfterCheck (Z25). */
function sampleLevelEarly(vcpu: usize): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  const row = findSlot(vcpu, fault.gfn);
  if (row == 0) return;
  const slot = changetype<Slot>(row);
  fault.earlyShift = hostMappingShift(vcpu, MM_BASE, slot.hva + ((fault.gfn - slot.baseGfn) << 12));
}

/** Step 2: slot, hva, pfn. On `Continue` a reference on the page is held, if it has references. SRCU is held. */
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
  const found = lookUp(vcpu, fault.hva, fault.write != 0);
  const status = Gup.status(found);
  if (status != HostStatus.Ok) {
    return status == HostStatus.OutOfFrames ? FaultResult.OutOfFrames : FaultResult.HostFault;
  }
  fault.pfn = Gup.pfn(found);
  fault.hostWritable = Gup.writable(found) ? 1 : 0;
  fault.noReference = u32((found & GUP_NO_REFERENCE) != 0);
  if (!Rules.hold(Rule.PutAfterInstall) && !fault.noReference) putFound(Map.page(fault.pfn), vcpu);
  return FaultResult.Continue;
}

/**
 * Gives back what resolve took. `installed`: the page is mapped now, and may be written through the mapping. Without
 * Rule.PutAfterInstall the page was put by resolve, and is marked all the same.
 */
function releasePage(vcpu: usize, fault: Fault, installed: bool): void {
  if (fault.noReference) return;
  const page = headOf(Map.page(fault.pfn));
  // The folio counts as dirty from the fault on: later the fast path may grant W and could not mark it.
  if (installed && fault.hostWritable) markDirty(page);
  if (!Rules.hold(Rule.PutAfterInstall)) return;
  if (installed || Rules.hold(Rule.PutOnRetry)) putFound(page, vcpu);
}

/** is_page_fault_stale, under mmu_lock. */
function staleLocked(vcpu: usize, fault: Fault): FaultResult {
  if (Rules.hold(Rule.ObsoleteRootChecked) && Root.invalid(fault.root)) return FaultResult.RetryRoot;
  if (!Rules.hold(Rule.RetryUnderLock)) return FaultResult.Continue;
  return retryResult(retryReason(vcpu));
}

/** What transparent_hugepage_adjust of 5.4 asks struct page: part of a compound page, and not of a device. */
function isCompoundPage(fault: Fault): bool {
  if (fault.noReference) return false;
  const flags = readFlags(headOf(Map.page(fault.pfn)));
  return (flags & (PageFlag.Head | PageFlag.ZoneDevice)) == PageFlag.Head;
}

/**
 * kvm_mmu_hugepage_adjust, transparent_hugepage_adjust: the size that slot and host allow, read after the retry check so
 * that a split shows. 5.4 installs what the VMA said, whatever the pfn; there, a promotion moves the reference from tail
 * to head, which share one count here.
 */
function adjustToHost(vcpu: usize, fault: Fault): void {
  fault.goalShift = 12;
  fault.leafPfn = fault.pfn;
  if (fault.vmaShift == 21) {
    fault.goalShift = 21;
    return;
  }
  if (!Map.has(MachineOption.HugePages)) return;
  if (!slotAllowsHuge(changetype<Slot>(<usize>fault.slot), fault.gfn)) return;
  const fromPage = Profiles.has(Switch.LevelFromVma);
  if (fromPage && !isCompoundPage(fault)) return;
  const shift = Rules.hold(Rule.HostLevelAfterCheck)
    ? hostMappingShift(vcpu, MM_BASE, fault.hva)
    : fault.earlyShift;
  if (shift < 21) return;
  fault.goalShift = 21;
  fault.leafPfn = fault.pfn & ~(<u32>511);
  if (fromPage) readFlags(Map.page(fault.leafPfn));
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
  // 5.4 lets the lock go first: nothing but the reference keeps struct page then.
  const late = Profiles.has(Switch.PfnmapRefcounted);
  if (!late) releasePage(vcpu, fault, installed != Installed.Raced);
  MmuLock.unlockShared(vcpu);
  if (late) releasePage(vcpu, fault, installed != Installed.Raced);
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
  levelFromVma(vcpu);
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

/** True while the invalidation that was met when `ends` of them had ended may still be open. */
function stillOpen(ends: u32): bool {
  if (Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Acquire) == 0) return false;
  return Ops.load<u32>(KVM_INVALIDATE_ENDS, Order.Acquire) == ends;
}

/**
 * Waits until an invalidation has ended, outside of SRCU and of every lock. Not on the count, which others may lower and
 * raise again while this vCPU sleeps, nor on the sequence, which an end raises before it lowers the count.
 */
function waitForInvalidation(vcpu: usize, fault: Fault): void {
  if (!stillOpen(fault.waitEnds)) return;
  Stats.add(vcpu, Stat.RetryWaits, 1);
  waitWhileOpen(vcpu, fault.waitEnds);
}

/** Spins, then sleeps, while an invalidation is open and no more than `ends` have ended. */
export function waitWhileOpen(actor: usize, ends: u32): void {
  Notes.tell(Note.MaySleep, KVM_INVALIDATE_ENDS, 0);
  for (let i: u32 = 0; i < Map.spinLimit; i++) {
    relax(actor);
    if (!stillOpen(ends)) return;
  }
  // Announce, then look again: pairs with ends-then-waiters in invalidateEnd.
  Ops.add<u32>(KVM_INVALIDATE_WAITERS, 1, Order.Full);
  while (stillOpen(ends)) park(KVM_INVALIDATE_ENDS, ends, actor);
  Ops.sub<u32>(KVM_INVALIDATE_WAITERS, 1, Order.Full);
}

/** Waits while the word is `value`; if nobody wakes it, the slice bounds the delay. Outside of SRCU and of every lock. */
function waitForChange(vcpu: usize, word: usize, value: u32): void {
  Notes.tell(Note.MaySleep, word, 0);
  let spins: u32 = 0;
  while (Ops.load<u32>(word, Order.Acquire) == value) {
    if (++spins > Map.spinLimit) park(word, value, vcpu);
    else relax(vcpu);
  }
}

/** True if the slot that the lookup found is in force and invalid still. */
function hintedSlotInvalid(fault: Fault): bool {
  const slots = Slots.active();
  if (fault.slotHint >= Slots.count(slots)) return false;
  const row = Slots.at(slots, fault.slotHint);
  return Slots.holds(row, fault.gfn) && (changetype<Slot>(row).flags & SlotFlag.Invalid) != 0;
}

/** After RetryRoot: waits for what the entry into guest mode needs to make a difference. In an SRCU section. */
function waitForRoot(vcpu: usize, fault: Fault): void {
  // Before the slot is looked at again: if it is invalid then, this update has not ended.
  const generation = Ops.load<u32>(KVM_GENERATION, Order.Acquire);
  const changing = hintedSlotInvalid(fault);
  const obsolete = Root.invalid(fault.root);
  Srcu.readUnlock(vcpu);
  // Whoever makes a root obsolete requests the reload, as a rule in the same section.
  if (obsolete) waitForChange(vcpu, vcpu + CONTROL_REQUESTS, 0);
  else if (changing) waitForChange(vcpu, KVM_GENERATION, generation);
  Srcu.readLock(vcpu);
}

/**
 * Before a fault that must be retried is: waits for the actor whose work it met half done. KVM enters the guest and
 * faults again until then. In an SRCU section, which is left meanwhile. The other retries wait for nobody: what they
 * met is done, and the next attempt sees it.
 */
export function waitToRetry(vcpu: usize, result: FaultResult): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  if (Map.has(MachineOption.SpinOnRetry)) return;
  if (result == FaultResult.RetryRoot) waitForRoot(vcpu, fault);
  if (result != FaultResult.RetryCount) return;
  Srcu.readUnlock(vcpu);
  waitForInvalidation(vcpu, fault);
  Srcu.readLock(vcpu);
}

/** Clears what was noted of a fault that is over. */
export function forgetFault(vcpu: usize): void {
  const fault = vcpu + ACTOR_FAULT;
  memory.fill(fault, 0, offsetof<Fault>("managed"));
  memory.fill(fault + offsetof<Fault>("noReference"), 0, offsetof<Fault>() - offsetof<Fault>("noReference"));
}

// Guest kernel and load generator. All of it acts as one actor, by index; the host has validated the arguments. Calls
// that run accesses return how many they did, and leave a `DriveStatus` that says why they came back (`driveStatus`).
//
// A guest: guestBoot on one vCPU, guestJoin on the others, guestMap. A run: driveWindow, driveWorkload, then driveRun
// (or Populate, Cycle, Trace, Verify, Add) in slices.

import { ACTOR_DRIVE } from "../layout/actor";
import { ACTOR_INTEGRITY, Activity, Drive, Workload } from "../layout/drive";
import { GuestMapping, GuestStatus } from "../layout/guest";
import { Map } from "../layout/map";
import { beginRun, endRun } from "../kvm/vcpu";
import { Kernel } from "../guest/memory";
import { guestPageFault } from "../guest/fault";
import { bootGuest, joinGuest } from "../guest/boot";
import { Region, populateRegion, setRegion } from "../guest/region";
import { mapGuestPage, readGuestLeaf, unmapGuestPage } from "../guest/tables";
import { prepareCycle, runCycle, runInvalidate } from "../drive/cycle";
import { clearHistogram, histogramBucket, histogramLowest, recordLatency } from "../drive/histogram";
import { buildCycle, populateWindow, runWorkload, sampleStep } from "../drive/run";
import { runTrace } from "../drive/trace";
import { ownedValue, runAdd, runVerify, sumAdded } from "../drive/verify";
import { configureWindow, configureWorkload } from "../drive/workload";

/** KVM_RUN for the guest kernel. */
function enter(vcpu: usize): bool {
  return beginRun(vcpu);
}

/** An interrupted vCPU has left guest mode already. */
function leave(vcpu: usize, status: GuestStatus): GuestStatus {
  if (status != GuestStatus.Interrupted) endRun(vcpu);
  return status;
}

/**
 * Boots the guest kernel on this vCPU: RAM is [0, ramSize) in guest-physical space, a multiple of 4 KiB behind one or
 * more memslots. Builds the PML4 and a direct map of RAM, and turns paging on: CR4.PAE and PGE, EFER.LME and NXE,
 * CR0.WP, and the `GuestOption`s; the vCPU then runs at CPL 3. HostError if it cannot enter guest mode either.
 */
export function guestBoot(vcpu: u32, ramSize: u64, options: u32): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, bootGuest(actor, ramSize, options)) : GuestStatus.HostError;
}

/** Starts another vCPU of the booted guest; `own` not 0: in an address space of its own, with an empty user half. */
export function guestJoin(vcpu: u32, own: u32): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, joinGuest(actor, own != 0)) : GuestStatus.HostError;
}

/**
 * Makes [gva, gva + size) the one region of the vCPU's address space that the guest kernel backs, in pages of
 * 2^pageShift bytes (12, 21, or 30 with MachineOption.Page1GB), on demand. `key` is that of the random mapping. No vCPU
 * of the address space may be running. Identity chooses the gva: see guestRegionStart.
 */
export function guestMap(
  vcpu: u32,
  mapping: GuestMapping,
  gva: u64,
  size: u64,
  pageShift: u32,
  key: u64,
): GuestStatus {
  return setRegion(Map.actor(vcpu), mapping, gva, size, pageShift, key);
}

/** Maps pages [first, first + count) of the region now instead of on demand. Not for FirstTouch. */
export function guestPopulate(vcpu: u32, first: u64, count: u64): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, populateRegion(actor, first, count)) : GuestStatus.HostError;
}

/** Maps one page by hand, anywhere: `bits` are those of the leaf entry. Exists if something is mapped there. */
export function guestMapPage(vcpu: u32, gva: u64, gpa: u64, pageShift: u32, bits: u64): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, mapGuestPage(actor, gva, gpa, pageShift, bits)) : GuestStatus.HostError;
}

/** Unmaps the page at `gva`, with INVLPG on this vCPU alone. BadAddress if nothing is mapped there. */
export function guestUnmap(vcpu: u32, gva: u64): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, unmapGuestPage(actor, gva)) : GuestStatus.HostError;
}

/**
 * Delivers a #PF of a single access (abi/vcpu.ts) to the guest kernel: `gva` and `error` of the walk record. Ok: make the
 * access again. BadAddress: the process would be killed.
 */
export function guestFault(vcpu: u32, gva: u64, error: u32): GuestStatus {
  const actor = Map.actor(vcpu);
  return enter(actor) ? leave(actor, guestPageFault(actor, gva, error)) : GuestStatus.HostError;
}

/** Leaf entry of the guest's tables for `gva`, 0 if there is none or it cannot be read. */
export function guestLeaf(vcpu: u32, gva: u64): u64 {
  const actor = Map.actor(vcpu);
  if (!enter(actor)) return 0;
  return leave(actor, readGuestLeaf(actor, gva)) == GuestStatus.Ok ? Kernel.value(actor) : 0;
}

/** First gva of the region. */
export function guestRegionStart(vcpu: u32): u64 {
  return Kernel.space(Map.actor(vcpu)).start;
}

/** gpa behind `gva`, which lies in the region, by the rule of its mapping. 0 for FirstTouch, which has none. */
export function guestRegionGpa(vcpu: u32, gva: u64): u64 {
  const space = Kernel.space(Map.actor(vcpu));
  return space.kind == GuestMapping.FirstTouch ? 0 : Region.gpa(space, gva);
}

/**
 * Sets the actor's window, and starts its random numbers (one stream per actor of a seed) and all its progress anew.
 * Step i of `steps` (1 to 2^31) is at gva + (i << strideShift); strideShift is at least 12.
 */
export function driveWindow(actor: u32, seed: u64, gva: u64, steps: u32, strideShift: u32): void {
  configureWindow(Map.actor(actor), seed, gva, steps, strideShift);
}

/**
 * Sets order and mix of the window's accesses. Zipf: at most 2^24 steps. Shifting: a working set of `setSteps` steps (1
 * or more) that moves by `setMove` after every `setPeriod` accesses. Chase: driveBuildChase first.
 */
export function driveWorkload(
  actor: u32,
  workload: Workload,
  writePermille: u32,
  setSteps: u32,
  setMove: u32,
  setPeriod: u32,
): void {
  configureWorkload(Map.actor(actor), workload, writePermille, setSteps, setMove, setPeriod);
}

/** For driveCycle: steps to discard at a time, and what to add to a gpa of the window's memslot to have its hva. */
export function driveCycleChunk(actor: u32, chunkSteps: u32, hvaOfGpa: u64): void {
  const drive = changetype<Drive>(Map.actor(actor) + ACTOR_DRIVE);
  drive.chunkPages = chunkSteps;
  drive.hvaOfGpa = hvaOfGpa;
}

/** For driveInvalidate: `spanPages` at a time of the `pages` from `hva` on; `order` is Sequential or Uniform. */
export function driveSpan(
  actor: u32,
  seed: u64,
  hva: u64,
  pages: u32,
  spanPages: u32,
  order: Workload,
): void {
  configureWindow(Map.actor(actor), seed, 0, 1, 12);
  const drive = changetype<Drive>(Map.actor(actor) + ACTOR_DRIVE);
  drive.spanHva = hva;
  drive.spanTotal = pages;
  drive.spanPages = spanPages;
  drive.spanOrder = order;
}

/** Up to `count` accesses of the workload. */
export function driveRun(vcpu: u32, count: u32): u32 {
  return runWorkload(Map.actor(vcpu), count);
}

/** Touches up to `count` more steps, each once: in order for Sequential, else permuted. `Finished` behind the last. */
export function drivePopulate(vcpu: u32, count: u32): u32 {
  return populateWindow(Map.actor(vcpu), count);
}

/** Lets drivePopulate and driveBuildChase begin again. */
export function driveRewind(vcpu: u32): void {
  changetype<Drive>(Map.actor(vcpu) + ACTOR_DRIVE).visited = 0;
}

/** Writes up to `count` more links of the chase's cycle to guest memory. `Finished` behind the last. */
export function driveBuildChase(vcpu: u32, count: u32): u32 {
  return buildCycle(Map.actor(vcpu), count);
}

/** Discards chunk after chunk of the window and touches its steps again, until `count` have been touched. */
export function driveCycle(vcpu: u32, count: u32): u32 {
  return runCycle(Map.actor(vcpu), count);
}

/** Discards the next chunk if the last one is used up: what is not to be timed of a cycle. False if refused. */
export function driveCyclePrepare(vcpu: u32): bool {
  return prepareCycle(Map.actor(vcpu));
}

/** A host thread's `count` invalidations. */
export function driveInvalidate(actor: u32, count: u32): u32 {
  return runInvalidate(Map.actor(actor), count);
}

/** Makes the accesses of records [first, first + count) of the batch buffer: see drive/trace.ts. */
export function driveTrace(vcpu: u32, first: u32, count: u32): u32 {
  return runTrace(Map.actor(vcpu), first, count);
}

/** Checks and rewrites up to `count` owned words: see drive/verify.ts. What it found: `Integrity`. */
export function driveVerify(vcpu: u32, count: u32): u32 {
  return runVerify(Map.actor(vcpu), count);
}

/** Adds 1 to the added words of `count` random steps. */
export function driveAdd(vcpu: u32, count: u32): u32 {
  return runAdd(Map.actor(vcpu), count);
}

/** Sum of the window's added words: `Integrity.sum`. False if one cannot be read. */
export function driveSum(vcpu: u32): bool {
  return sumAdded(Map.actor(vcpu));
}

/** What driveVerify writes to the word at `gva` in `pass`. */
export function driveOwnedValue(vcpu: u32, gva: u64, pass: u64): u64 {
  return ownedValue(gva, vcpu, pass);
}

/** One step of an `Activity`, for the host to time. Cycle: after driveCyclePrepare. Returns 1, or 0. */
export function driveSample(vcpu: u32, activity: Activity): u32 {
  return sampleStep(Map.actor(vcpu), activity);
}

/** `DriveStatus` of the actor's last call. */
export function driveStatus(actor: u32): u32 {
  return changetype<Drive>(Map.actor(actor) + ACTOR_DRIVE).status;
}

/** Address of the actor's `Integrity`. */
export function driveIntegrity(actor: u32): usize {
  return Map.actor(actor) + ACTOR_INTEGRITY;
}

/** Counts a latency in the actor's histogram. */
export function histogramRecord(actor: u32, ns: u64): void {
  recordLatency(Map.actor(actor), ns);
}

/** Address of the actor's histogram: layout/histogram.ts. */
export function histogramAddress(actor: u32): usize {
  return Map.histogram(Map.actor(actor));
}

/** Empties an actor's histogram. */
export function histogramClear(actor: u32): void {
  clearHistogram(Map.actor(actor));
}

/** Bucket that counts `ns`, and the smallest value that counts in a bucket. */
export function histogramBucketOf(ns: u64): u32 {
  return histogramBucket(ns);
}

/** The least value, in ns, that counts in a bucket. */
export function histogramBucketLow(bucket: u32): u64 {
  return histogramLowest(bucket);
}

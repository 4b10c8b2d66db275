// Load generator of one actor: what it is to do, and how far it is. Written by the owner; what reports are made of
// (`status`, `Integrity`) may be read by the host at any time.
//
//   ACTOR_DRIVE      0  Drive        512  Integrity        960  the guest kernel's words (layout/guest.ts)

import { ACTOR_DRIVE } from "./actor";

/** Order in which a window's steps are visited. */
export enum Workload {
  /** One after another. */
  Sequential = 0,
  /** Each step alike. */
  Uniform = 1,
  /** The k-th hottest step with probability proportional to 1/k: zipf with theta = 1. */
  Zipf = 2,
  /** Each load's value is the next address: a cycle through all steps, stored in guest memory. */
  Chase = 3,
  /** Uniform in a working set that moves through the window. */
  Shifting = 4,
}

/** Why a driver came back. */
export enum DriveStatus {
  /** It did all it was asked to. */
  Ok = 0,
  /** `Header.stop` is set. */
  Stopped = 1,
  /** Request.Exit. */
  Interrupted = 2,
  /** The host is out of frames. */
  OutOfFrames = 3,
  /** No VMA behind a memslot, or the VMA does not allow the access. */
  HostFault = 4,
  /** The guest kernel is out of guest RAM. */
  GuestOutOfMemory = 5,
  /** Every step has been visited. */
  Finished = 6,
  /** The machine or the mapping does not allow this activity: see the export. */
  Unsupported = 7,
  /** The host refused an invalidation: `Drive.hostStatus`. */
  HostRefused = 8,
}

/** What `driveSample` does one step of. */
export enum Activity {
  /** The configured workload. */
  Run = 0,
  /** Touches each step once. */
  Populate = 1,
  /** Refaults what `driveCyclePrepare` has discarded. */
  Cycle = 2,
}

@unmanaged
export class Drive {
  /** State of the random numbers (drive/random.ts). */
  random0: u64;
  random1: u64;
  /** First gva of the window. */
  gva: u64;
  /** Steps of the window: at most 2^31. Step i is at gva + (i << strideShift), in a cache line chosen by i. */
  steps: u32;
  strideShift: u32;
  /** `Workload`. */
  workload: u32;
  /** Writes, of 65,536 accesses. */
  writeShare: u32;
  /** Step that comes next: sequential, chase. */
  position: u32;
  /** log2 of `steps`, rounded up: the permutation's domain; for zipf also the octaves. */
  stepBits: u32;
  /** Key of the permutation of steps: the same in all actors of a seed, so that they share one cycle. */
  key: u64;
  /** Shifting: steps of the working set, how far it moves, after how many accesses, and where it is. */
  setSteps: u32;
  setMove: u32;
  setPeriod: u32;
  setLeft: u32;
  setFirst: u32;
  /** `DriveStatus` of the last call. */
  status: u32;
  /** Accesses of the slice under way that were given up. */
  givenUp: u32;
  /** Accesses of this slice that the first look at the TLB missed and the second, at large pages, found. */
  lateHits: u32;
  /** Steps that populate, or the writing of a chase's cycle, has visited. */
  visited: u32;
  /** What was loaded, so that loads are not optimised away. */
  sink: u64;

  /** hva of gpa 0: what to add to a gpa of the window's memslot. */
  hvaOfGpa: u64;
  /** Cycle: pages to discard at a time, next page of the window to discard, pages of the chunk still to refault. */
  chunkPages: u32;
  chunkNext: u32;
  chunkLeft: u32;
  /** `HostStatus` of the last invalidation. */
  hostStatus: u32;
  /** Invalidator: first hva, pages, pages of an invalidation, its order (`Workload.Sequential` or `Uniform`). */
  spanHva: u64;
  spanTotal: u32;
  spanPages: u32;
  spanOrder: u32;
  spanNext: u32;
}

/** End-to-end checks of the data. */
@unmanaged
export class Integrity {
  /** Pass under way: 0 writes only. */
  pass: u64;
  /** Words found 0 in passes that checked: discarded meanwhile. */
  discarded: u64;
  /** Words found as they had been written. */
  kept: u64;
  /** Words found otherwise. */
  errors: u64;
  /** First of those. */
  gva: u64;
  expected: u64;
  found: u64;
  /** Atomic additions done. */
  additions: u64;
  /** Sum of the words that `driveSum` visited. */
  sum: u64;
  /** Step that comes next. */
  position: u32;
}
export const ACTOR_INTEGRITY: usize = ACTOR_DRIVE + 512;

export const DRIVE_OFFSET_STATUS: usize = ACTOR_DRIVE + offsetof<Drive>("status");
export const DRIVE_OFFSET_HOST_STATUS: usize = ACTOR_DRIVE + offsetof<Drive>("hostStatus");
export const INTEGRITY_OFFSET_PASS: usize = ACTOR_INTEGRITY + offsetof<Integrity>("pass");
export const INTEGRITY_OFFSET_DISCARDED: usize = ACTOR_INTEGRITY + offsetof<Integrity>("discarded");
export const INTEGRITY_OFFSET_KEPT: usize = ACTOR_INTEGRITY + offsetof<Integrity>("kept");
export const INTEGRITY_OFFSET_ERRORS: usize = ACTOR_INTEGRITY + offsetof<Integrity>("errors");
export const INTEGRITY_OFFSET_GVA: usize = ACTOR_INTEGRITY + offsetof<Integrity>("gva");
export const INTEGRITY_OFFSET_EXPECTED: usize = ACTOR_INTEGRITY + offsetof<Integrity>("expected");
export const INTEGRITY_OFFSET_FOUND: usize = ACTOR_INTEGRITY + offsetof<Integrity>("found");
export const INTEGRITY_OFFSET_ADDITIONS: usize = ACTOR_INTEGRITY + offsetof<Integrity>("additions");
export const INTEGRITY_OFFSET_SUM: usize = ACTOR_INTEGRITY + offsetof<Integrity>("sum");

if (offsetof<Drive>() > 512) ERROR("Drive must end before Integrity");
if (ACTOR_INTEGRITY + offsetof<Integrity>() > ACTOR_DRIVE + 960)
  ERROR("Integrity must end before the guest kernel's words");

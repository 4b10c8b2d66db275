// The last walk of an actor, as a record: outcome, addresses, and the entries it read. The fast form of a walk does
// not write it; it is filled when a walk faults, exits, or is asked for level by level.

import { ACTOR_WALK } from "./actor";

/** How a walk, or an access, ended. */
export enum Outcome {
  /** Translated. */
  Ok = 0,
  /** #PF: error code in `Walk.error`, linear address in `Walk.gva`. */
  PageFault = 1,
  /** #GP(0): non-canonical address. */
  GeneralProtection = 2,
  /** #SS(0): non-canonical address through the stack segment. */
  StackFault = 3,
  /** EPT violation: `Walk.gpa`, `Walk.error` is the exit qualification. */
  EptViolation = 4,
  /** EPT misconfiguration: `Walk.gpa`. */
  EptMisconfiguration = 5,
  /** No memslot (or a write to a read-only one): the embedder must emulate. `Walk.gpa`. */
  Mmio = 6,
  /** A physical address that no frame or window holds. `Walk.pa`. */
  Missing = 7,
  /** The vCPU was asked to leave (stop, Request.Exit) before the access was made. */
  Interrupted = 8,
  /** The host could not back the page: no VMA there, or access not allowed. `Walk.gpa`. */
  HostFault = 9,
  /** The host is out of frames. `Walk.gpa`. */
  OutOfFrames = 10,
}

/** Kinds of access. */
export enum Access {
  Read = 0,
  Write = 1,
  Fetch = 2,
  /** Read-modify-write: checked and reported as a write. */
  Modify = 3,
}

@unmanaged
export class Walk {
  outcome: u32;
  /** #PF error code, or exit qualification. */
  error: u32;
  gva: u64;
  /** Guest-physical address of the access, or of the table entry whose translation failed. */
  gpa: u64;
  /** Host-physical address of the access. */
  pa: u64;
  /** log2 of the size of the translation: 12, 21 or 30. */
  shift: u32;
  /** Steps recorded. */
  steps: u32;
  /** Raw rights accumulated. */
  rights: u32;
}
/** Steps of the recorded walk: at most 5 + 5 * 4 + 4 nested, 16 bytes each (`WalkStep`). */
export const WALK_STEPS: usize = ACTOR_WALK + 64;
export const WALK_STEP_MAX: u32 = 28;

/** One entry that a walk read. */
@unmanaged
export class WalkStep {
  /** The entry's value. */
  entry: u64;
  /** Where: physical page number of the table << 16 | index << 4 | level, bit 3 set for a nested table. */
  where: u64;
}
if (offsetof<Walk>() > 64) ERROR("Walk must end before its steps");
if (64 + WALK_STEP_MAX * 16 > 512) ERROR("the steps must end before the pool part");

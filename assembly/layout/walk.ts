// The last walk of an actor, as a record: outcome, addresses, and the entries it read. The fast form of a walk does
// not write it; it is filled when a walk faults, exits, or is asked for level by level.

import { ACTOR_POOL, ACTOR_WALK } from "./actor";

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
  /** #AC(0): a locked read-modify-write that is not naturally aligned (docs/decisions/0006-split-locks.md). */
  AlignmentCheck = 11,
  /** #VMEXIT(NPF) of AMD nested paging: `Walk.gpa` is EXITINFO2, `Walk.error` EXITINFO1. */
  NestedPageFault = 12,
  /** Page-modification log full: `Walk.gpa` is the address that could not be logged. Nothing was set or accessed. */
  PmlFull = 13,
}

/** Kinds of access. Bit 0: checked and reported as a write. */
export enum Access {
  Read = 0,
  Write = 1,
  Fetch = 2,
  /** Read-modify-write: checked and reported as a write. */
  Modify = 3,
  /** Supervisor-mode access whatever the CPL, as of a descriptor: RFLAGS.AC does not lift SMAP for it. */
  ImplicitRead = 4,
  ImplicitWrite = 5,
  /** Through the stack segment: a non-canonical address is #SS. */
  StackRead = 6,
  StackWrite = 7,
}
export const ACCESS_COUNT: u32 = 8;

@unmanaged
export class Walk {
  /** `Outcome`. */
  outcome: u32;
  /** Steps recorded. */
  steps: u32;
  /** #PF error code, exit qualification, or EXITINFO1 (which has bits above 31). */
  error: u64;
  gva: u64;
  /** Guest-physical address of the access, or of the table entry whose translation failed. */
  gpa: u64;
  /** Host-physical address of the access. */
  pa: u64;
  /** Obstacles found (x86/rights.ts). */
  rights: u64;
  /** log2 of the size of the translation: 12, 21 or 30. */
  shift: u32;
  /** Mode of the nested dimension (x86/modes.ts): the format of the steps that are nested; MODE_NONE without one. */
  nestedMode: u32;
}
export const WALK_OUTCOME: usize = ACTOR_WALK + offsetof<Walk>("outcome");
export const WALK_ERROR: usize = ACTOR_WALK + offsetof<Walk>("error");
export const WALK_GVA: usize = ACTOR_WALK + offsetof<Walk>("gva");
export const WALK_GPA: usize = ACTOR_WALK + offsetof<Walk>("gpa");
export const WALK_PA: usize = ACTOR_WALK + offsetof<Walk>("pa");
export const WALK_RIGHTS: usize = ACTOR_WALK + offsetof<Walk>("rights");
export const WALK_SHIFT: usize = ACTOR_WALK + offsetof<Walk>("shift");
export const WALK_STEP_COUNT: usize = ACTOR_WALK + offsetof<Walk>("steps");
export const WALK_NESTED_MODE: usize = ACTOR_WALK + offsetof<Walk>("nestedMode");

/** Steps of the recorded walk (`WalkStep`): at most 5 of the guest, each after 5 nested ones, and 5 more. */
export const WALK_STEPS: usize = ACTOR_WALK + 64;
export const WALK_STEP_MAX: u32 = 35;
export const WALK_STEP_SHIFT: u32 = 4;

/**
 * One entry that a walk read. `where`:
 *
 *   63:4                                   3             2:0
 *   physical address of the entry >> 3     nested table  level
 */
@unmanaged
export class WalkStep {
  /** The entry's value as it was read. */
  entry: u64;
  /** See the drawing. The address of a guest's entry below EPT is guest-physical. */
  where: u64;
}
export const WALK_STEP_NESTED: u64 = 8;

if (offsetof<Walk>() > 64) ERROR("Walk must end before its steps");
if (offsetof<WalkStep>() != (<usize>1) << WALK_STEP_SHIFT) ERROR("a step must fill its place");
if (WALK_STEPS + ((<usize>WALK_STEP_MAX) << WALK_STEP_SHIFT) > ACTOR_POOL)
  ERROR("the steps must end before the pool part");

/**
 * What became of a guest access. Architectural faults and exits are values: a guest that faults is not an error of the
 * embedder. Error codes are those of the Intel SDM, vol. 3A 4.7.
 */

import {
  Access,
  EPT_VIOLATION_FETCH,
  EPT_VIOLATION_FINAL,
  EPT_VIOLATION_READ,
  EPT_VIOLATION_RIGHTS_SHIFT,
  EPT_VIOLATION_WRITE,
  EPT_VIOLATION_XU,
  NPF_FINAL,
  NPF_TABLE,
  Outcome,
  PFERR_ID,
  PFERR_P,
  PFERR_PK,
  PFERR_RSVD,
  PFERR_US,
  PFERR_WR,
  WALK_ERROR,
  WALK_GPA,
  WALK_GVA,
  WALK_NESTED_MODE,
  WALK_OUTCOME,
  WALK_PA,
  WALK_RIGHTS,
  WALK_SHIFT,
  WALK_STEPS,
  WALK_STEP_COUNT,
  WALK_STEP_NESTED,
  WALK_STEP_SHIFT,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { hex, type Gpa, type Gva, type Hpa } from "./address.js";
import { choice } from "./arguments.js";
import { type MachineState } from "./state.js";

/** Kinds of access, by name. */
export type AccessKind = "read" | "write" | "fetch" | "modify";

const ACCESS_KINDS: Readonly<Record<AccessKind, Access>> = {
  read: Access.Read,
  write: Access.Write,
  fetch: Access.Fetch,
  modify: Access.Modify,
};

/** The core's number of a kind of access, or `USAGE`. */
export function accessNumber(kind: AccessKind): Access {
  return choice("kind of access", ACCESS_KINDS, kind);
}

/** The bits of a #PF error code by name (SDM vol. 3A 4.7). */
export interface PageFaultBits {
  readonly present: boolean;
  readonly write: boolean;
  readonly user: boolean;
  readonly reserved: boolean;
  readonly fetch: boolean;
  readonly protectionKey: boolean;
}

/** Takes a #PF error code apart. */
export function pageFaultBits(errorCode: number): PageFaultBits {
  const has = (bit: number): boolean => (errorCode & bit) !== 0;
  return {
    present: has(PFERR_P),
    write: has(PFERR_WR),
    user: has(PFERR_US),
    reserved: has(PFERR_RSVD),
    fetch: has(PFERR_ID),
    protectionKey: has(PFERR_PK),
  };
}

/** A #PF: to be delivered to the guest with this error code, and `gva` in CR2. */
export interface PageFault {
  readonly kind: "page-fault";
  readonly errorCode: number;
  readonly gva: Gva;
}
/** #GP(0): the address is not canonical. */
export interface GeneralProtection {
  readonly kind: "general-protection";
  readonly gva: Gva;
}
/** #SS(0): the address is not canonical, and the access was through the stack segment. */
export interface StackFault {
  readonly kind: "stack-fault";
  readonly gva: Gva;
}
/** A locked access that is not naturally aligned: refused, as by split-lock detection (#AC). */
export interface AlignmentCheck {
  readonly kind: "alignment-check";
  readonly gva: Gva;
}
/** An address without a memslot, or a write to a read-only one. `onMmio` takes these, if it is set. */
export interface MmioExit {
  readonly kind: "mmio";
  readonly gpa: Gpa;
  readonly access: AccessKind;
  /** Bytes, from `gpa` on. */
  readonly size: number;
  /** What lies there: the data, or an entry of the guest's page tables, which no callback can stand in for. */
  readonly target: "data" | "table";
}
/** The VMM has nothing behind the slot there, or not with that right: KVM_RUN would return -EFAULT. */
export interface HostFault {
  readonly kind: "host-fault";
  readonly gpa: Gpa;
}
/** An EPT violation that only a quiet translation shows: KVM has not mapped the page yet. */
export interface EptViolation {
  readonly kind: "ept-violation";
  readonly gpa: Gpa;
  /** Exit qualification (SDM vol. 3C 28.2.1). */
  readonly qualification: number;
}
/** #VMEXIT(NPF): the nested tables of an AMD processor stopped the access (APM vol. 2 15.25.6). */
export interface NestedPageFault {
  readonly kind: "nested-page-fault";
  /** EXITINFO2. */
  readonly gpa: Gpa;
  /**
   * EXITINFO1: the bits of a #PF error code, U/S always set; bit 32 if the access was that of the guest itself, bit 33 if it
   * was one to a table of the guest. All 64 bits.
   */
  readonly exitInfo1: bigint;
}
/** The page-modification log is full (SDM vol. 3C 29.3.6): no flag was set, and the access was not made. */
export interface PmlFull {
  readonly kind: "pml-full";
  /** The address whose page could not be logged. Hardware reports none. */
  readonly gpa: Gpa;
}
/** An EPT entry that has no meaning. */
export interface EptMisconfiguration {
  readonly kind: "ept-misconfiguration";
  readonly gpa: Gpa;
}
/** A physical address that the machine has no frame or window for. */
export interface Missing {
  readonly kind: "missing";
  readonly hpa: Hpa;
}
/** The vCPU was asked to leave before the access was made: `vcpu.interrupt()`, or the machine's stop word. */
export interface Interrupted {
  readonly kind: "interrupted";
}

/** How an access can fail. */
export type AccessFault =
  | PageFault
  | GeneralProtection
  | StackFault
  | AlignmentCheck
  | MmioExit
  | HostFault
  | EptViolation
  | EptMisconfiguration
  | NestedPageFault
  | PmlFull
  | Missing
  | Interrupted;

/** A completed access: the value read, or what a read-modify-write found. 0 for a write. */
export interface AccessOk {
  readonly kind: "ok";
  readonly value: bigint;
}

export type AccessResult = AccessOk | AccessFault;

/** The access that an exit qualification or EXITINFO1 tells of: R, W and X as in the former. */
function accessInWords(bits: number): string {
  if (bits & Number(EPT_VIOLATION_FETCH)) return "fetch";
  if (!(bits & Number(EPT_VIOLATION_WRITE))) return "read";
  return bits & Number(EPT_VIOLATION_READ) ? "read and write" : "write";
}

/** An exit qualification (SDM vol. 3C 28.2.1, table 28-7) in words: the access, and what the EPT entries allow. */
function qualificationInWords(qualification: number): string {
  const target = qualification & EPT_VIOLATION_FINAL ? "the page" : "a guest page table";
  const rights = (qualification >> EPT_VIOLATION_RIGHTS_SHIFT) & 7;
  const xu = qualification & EPT_VIOLATION_XU ? "+XU" : "";
  if (rights === 0 && xu === "")
    return `${accessInWords(qualification)} of ${target}, which EPT does not map`;
  const names = ["R", "W", "X"].filter((_, i) => rights & (1 << i)).join("");
  return `${accessInWords(qualification)} of ${target}, which EPT maps as ${names || "---"}${xu}`;
}

/** EXITINFO1 (APM vol. 2 15.25.6) in words. */
function exitInfoInWords(exitInfo1: bigint): string {
  const { present, write, reserved, fetch } = pageFaultBits(Number(exitInfo1 & 0xffff_ffffn));
  const access = fetch ? "fetch" : write ? "write" : "read";
  const table = (exitInfo1 & NPF_TABLE) !== 0n;
  const target = table ? "a guest page table" : exitInfo1 & NPF_FINAL ? "the page" : "memory";
  if (reserved) return `${access} of ${target}: a reserved bit is set in the nested tables`;
  if (!present) return `${access} of ${target}, which the nested tables do not map`;
  return `${access} of ${target}, which the nested tables do not allow to user mode`;
}

/** A fault in one line, for messages. */
export function describeFault(fault: AccessFault): string {
  switch (fault.kind) {
    case "page-fault":
      return `#PF at gva ${hex(fault.gva)}, error code ${hex(fault.errorCode)}`;
    case "general-protection":
      return `#GP(0): gva ${hex(fault.gva)} is not canonical`;
    case "stack-fault":
      return `#SS(0): gva ${hex(fault.gva)} is not canonical`;
    case "alignment-check":
      return `#AC: locked access at gva ${hex(fault.gva)} is not aligned`;
    case "mmio":
      return `MMIO ${fault.access} of ${fault.size} bytes (${fault.target}) at gpa ${hex(fault.gpa)}`;
    case "host-fault":
      return `no host mapping behind gpa ${hex(fault.gpa)}`;
    case "ept-violation":
      return `EPT violation at gpa ${hex(fault.gpa)}: ${qualificationInWords(fault.qualification)} (qualification ${hex(fault.qualification)})`;
    case "ept-misconfiguration":
      return `EPT misconfiguration at gpa ${hex(fault.gpa)}`;
    case "nested-page-fault":
      return `nested page fault at gpa ${hex(fault.gpa)}: ${exitInfoInWords(fault.exitInfo1)} (EXITINFO1 ${hex(fault.exitInfo1)})`;
    case "pml-full":
      return `page-modification log full at gpa ${hex(fault.gpa)}`;
    case "missing":
      return `no frame at hpa ${hex(fault.hpa)}`;
    case "interrupted":
      return "interrupted before the access";
  }
}

/** The value of an access that has to succeed; `ACCESS_FAULTED` with the fault in words if it did not. */
export function valueOf(result: AccessResult): bigint {
  if (result.kind === "ok") return result.value;
  throw new GuestMmuError("ACCESS_FAULTED", {
    message: `The access did not succeed: ${describeFault(result)}.`,
    hint: "Look at `kind` of the result instead, if the guest may fault there.",
  });
}

/** Host memory ran out under an access: a limit of the machine, hence an error. */
export function outOfFrames(what: string): GuestMmuError {
  return new GuestMmuError("FRAMES_EXHAUSTED", {
    message: `${what}: no frame of host memory is free.`,
    hint: "Create the machine with more frames, or unmap something (munmap, madviseDontneed).",
  });
}

/** The walk record of a vCPU (assembly/layout/walk.ts), read where it lies. */
export class WalkRecord {
  readonly #view: DataView;
  readonly #block: number;

  constructor(state: Pick<MachineState, "view" | "actorBlock">, vcpu: number) {
    this.#view = state.view;
    this.#block = state.actorBlock(vcpu);
  }

  #u32(offset: number): number {
    return this.#view.getUint32(this.#block + offset, true);
  }
  #u64(offset: number): bigint {
    return this.#view.getBigUint64(this.#block + offset, true);
  }

  get outcome(): number {
    return this.#u32(WALK_OUTCOME);
  }
  /** #PF error code, exit qualification or EXITINFO1. None has bits above 33. */
  get error(): number {
    return Number(this.#u64(WALK_ERROR));
  }
  /** Paging mode of the nested dimension (`MODE_EPT4`, `MODE_NPT4`, ...; `MODE_NONE` without one). */
  get nestedMode(): number {
    return this.#u32(WALK_NESTED_MODE);
  }
  get gva(): Gva {
    return this.#u64(WALK_GVA) as Gva;
  }
  get gpa(): Gpa {
    return this.#u64(WALK_GPA) as Gpa;
  }
  get hpa(): Hpa {
    return this.#u64(WALK_PA) as Hpa;
  }
  get rights(): bigint {
    return this.#u64(WALK_RIGHTS);
  }
  /** log2 of the size of the translation. */
  get shift(): number {
    return this.#u32(WALK_SHIFT);
  }

  /** Entries read, in the order of the walk. */
  *steps(): Generator<{ entry: bigint; address: bigint; level: number; nested: boolean }> {
    for (let i = 0, count = this.#u32(WALK_STEP_COUNT); i < count; i++) {
      const at = WALK_STEPS + (i << WALK_STEP_SHIFT);
      const where = this.#u64(at + 8);
      const nested = (where & BigInt(WALK_STEP_NESTED)) !== 0n;
      yield { entry: this.#u64(at), address: (where >> 4n) << 3n, level: Number(where & 7n), nested };
    }
  }

  /** The fault that an outcome other than Ok stands for; `size` bytes were wanted. Throws `FRAMES_EXHAUSTED`. */
  fault(outcome: number, access: AccessKind, size: number): AccessFault {
    switch (outcome) {
      case Outcome.PageFault:
        return { kind: "page-fault", errorCode: this.error, gva: this.gva };
      case Outcome.GeneralProtection:
        return { kind: "general-protection", gva: this.gva };
      case Outcome.StackFault:
        return { kind: "stack-fault", gva: this.gva };
      case Outcome.EptViolation:
        return { kind: "ept-violation", gpa: this.gpa, qualification: this.error };
      case Outcome.EptMisconfiguration:
        return { kind: "ept-misconfiguration", gpa: this.gpa };
      case Outcome.NestedPageFault:
        return { kind: "nested-page-fault", gpa: this.gpa, exitInfo1: BigInt(this.error) };
      case Outcome.PmlFull:
        return { kind: "pml-full", gpa: this.gpa };
      case Outcome.Mmio: {
        const target = this.error & Number(EPT_VIOLATION_FINAL) ? "data" : "table";
        return { kind: "mmio", gpa: this.gpa, access, size: target === "data" ? size : 8, target };
      }
      case Outcome.Missing:
        return { kind: "missing", hpa: this.hpa };
      case Outcome.Interrupted:
        return { kind: "interrupted" };
      case Outcome.HostFault:
        return { kind: "host-fault", gpa: this.gpa };
      default:
        throw outOfFrames(`A guest ${access} at gva ${hex(this.gva)}`);
    }
  }
}

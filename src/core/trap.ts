/** What a trap of the core says, in words. One sentence for each `Trap` of assembly/trap.ts. */

import { GuestMmuError } from "../errors.js";
import {
  HEADER_OFFSET_FRAMES_BASE,
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_HOST_COUNT,
  HEADER_OFFSET_VCPU_COUNT,
  HEADER_TRAP_ACTOR,
  HEADER_TRAP_ARGUMENT,
  HEADER_TRAP_CODE,
  PAGE_SIZE,
  Trap,
} from "./layout.generated.js";

type Argument = "none" | "pfn" | "address";

interface TrapSentence {
  readonly sentence: string;
  /** What the argument of the trap is. */
  readonly argument: Argument;
}

const say = (sentence: string, argument: Argument = "none"): TrapSentence => ({ sentence, argument });

/** One row for each enumerator; `None` is what a machine has that did not trap. */
export const TRAP_SENTENCES: Readonly<Record<keyof typeof Trap, TrapSentence>> = {
  None: say(
    "The core stopped without saying why: an access outside of its memory, or an instruction that cannot be",
  ),
  Aborted: say("A wait was ended because the machine was aborted"),
  RefcountUnderflow: say("A page was put whose reference count was not positive", "pfn"),
  AllocOfUsedPage: say("The allocator found a free frame that has references", "pfn"),
  PoisonOverwritten: say(
    "A free frame no longer holds its poison: somebody wrote to it after it was freed",
    "address",
  ),
  UnlockByOther: say("A lock was released by an actor that does not hold it", "address"),
  LockTwice: say("An actor took a lock that it holds already", "address"),
  InProgressUnderflow: say("mmu_invalidate_in_progress would have become negative: an end without its start"),
  ActiveUnderflow: say("mn_active_invalidate_count would have become negative: an end without its start"),
  LeafChanged: say("A present leaf would have been replaced by one with another pfn", "address"),
  RangeSentinel: say("An invalidation is open, yet the union of the open ranges is empty"),
  GraceUnbalanced: say("A read section was left that had not been entered, or waited for from inside"),
  TableCacheEmpty: say("A table was wanted under mmu_lock, and the actor's cache had none"),
  MapcountUnderflow: say("The map count of a page would have become negative", "pfn"),
  RootUnderflow: say("A root of the secondary MMU was put more often than it was taken", "pfn"),
  DoubleFree: say("A block of frames was freed that is free already", "pfn"),
  GatherOverflow: say("More pages were gathered before a host TLB flush than the list holds"),
  GetOfFreePage: say("A reference was taken on a page that is free", "pfn"),
  WouldWait: say(
    "The embed module would have to wait, and there is no other thread that could end it",
    "address",
  ),
};

const NAMES = new Map<number, keyof typeof Trap>(
  Object.entries(Trap).map(([name, code]) => [code, name as keyof typeof Trap]),
);

/** The first trap of a machine. */
export interface TrapRecord {
  readonly name: keyof typeof Trap;
  /** `vCPU 0`, `host thread 1`, or `nobody in particular`. */
  readonly actor: string;
  readonly argument: bigint;
  /** The argument in words, empty if it says nothing. */
  readonly argumentText: string;
}

function actorName(view: DataView, index: number): string {
  const vcpus = view.getUint32(HEADER_OFFSET_VCPU_COUNT, true);
  const hosts = view.getUint32(HEADER_OFFSET_HOST_COUNT, true);
  if (index < vcpus) return `vCPU ${index}`;
  return index < vcpus + hosts ? `host thread ${index - vcpus}` : "nobody in particular";
}

/** An address in the core's memory as kernel engineers would name it. */
function addressText(view: DataView, argument: bigint): string {
  const base = BigInt(view.getUint32(HEADER_OFFSET_FRAMES_BASE, true));
  const end = base + BigInt(view.getUint32(HEADER_OFFSET_FRAME_COUNT, true)) * BigInt(PAGE_SIZE);
  if (argument < base || argument >= end) return `address 0x${argument.toString(16)} of the core's memory`;
  const offset = argument - base;
  return `pfn 0x${(offset / BigInt(PAGE_SIZE)).toString(16)}, offset 0x${(offset % BigInt(PAGE_SIZE)).toString(16)}`;
}

/** Reads the trap record of the machine in this memory; null if it has not trapped. */
export function readTrap(view: DataView): TrapRecord | null {
  const code = view.getUint32(HEADER_TRAP_CODE, true);
  if (code === Trap.None) return null;
  const name = NAMES.get(code) ?? "None";
  const argument = view.getBigUint64(HEADER_TRAP_ARGUMENT, true);
  const kind = TRAP_SENTENCES[name].argument;
  const argumentText =
    kind === "pfn" ? `pfn 0x${argument.toString(16)}` : kind === "address" ? addressText(view, argument) : "";
  return { name, actor: actorName(view, view.getUint32(HEADER_TRAP_ACTOR, true)), argument, argumentText };
}

/** The error for a machine that another thread's end has ended: its trap, if it has one, else `ABORTED`. */
export function endedError(view: DataView): GuestMmuError {
  if (readTrap(view)) return trapError(view, undefined);
  return new GuestMmuError("ABORTED", {
    message: "The machine was aborted: a thread of it died, or the run was stopped.",
    hint: "Look at the error that came first; what acts on this machine is refused from now on.",
  });
}

/**
 * The error for a `WebAssembly.RuntimeError` that came out of the core: `ABORTED` if a wait was ended on request,
 * else `CORE_TRAP` with the sentence of the machine's first trap.
 */
export function trapError(view: DataView, cause: unknown): GuestMmuError {
  const record = readTrap(view);
  if (record?.name === "Aborted") {
    return new GuestMmuError("ABORTED", {
      message: `${TRAP_SENTENCES.Aborted.sentence} (${record.actor} was waiting).`,
      hint: "Look at the error that came first: a thread of this machine died, or the run was stopped.",
      cause,
    });
  }
  const sentence = TRAP_SENTENCES[record?.name ?? "None"].sentence;
  const details = record ? [record.name, record.argumentText, record.actor].filter(Boolean).join(", ") : "";
  return new GuestMmuError("CORE_TRAP", {
    message: details ? `${sentence} (${details}).` : `${sentence}.`,
    hint: "The machine cannot be used any more. Without rules left out this is a defect: please report it.",
    cause,
  });
}

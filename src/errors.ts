/**
 * The one error type of the package: what went wrong (`code`, `message`), where (in the message), and what to
 * do about it (`hint`). Architectural faults are values, never errors; this class is for input that cannot be
 * used, machines that cannot be built, and protocol or worker failures that end a run.
 */

/**
 * One row for each code: the sentence that stands in for a message when the place that throws has nothing
 * more precise to say. A code is never reused with another meaning.
 */
export const ERROR_SENTENCES = {
  /** The WebAssembly.Memory is not backed by a SharedArrayBuffer, so that workers cannot attach to it. */
  MEMORY_NOT_SHARED: "The machine's memory is not shared.",
  /** The memory has fewer bytes than the configured regions take. */
  MEMORY_TOO_SMALL: "The memory is too small for the configured machine.",
  /** The WebAssembly module is not a guestmmu core, or its ABI version is not the one this host speaks. */
  MODULE_MISMATCH: "The WebAssembly module does not fit this version of the host.",
  /** A field of a machine's or a run's configuration is missing, out of range, or contradicts another. */
  CONFIG_INVALID: "The configuration is not valid.",
  /** A memslot would cover guest-physical addresses that another memslot covers already. */
  SLOT_OVERLAP: "The memslot overlaps another memslot.",
  /** A memslot number, size or flag that the machine does not accept, or a slot that does not exist. */
  SLOT_INVALID: "The memslot is not valid.",
  /** An address or a length that must be a multiple of the page (or word) size is not. */
  ADDRESS_UNALIGNED: "The address is not aligned.",
  /** An address outside the space it belongs to: not canonical, above MAXPHYADDR, or past the end. */
  ADDRESS_RANGE: "The address is out of range.",
  /** No frame of host physical memory is free and none can be reclaimed. */
  FRAMES_EXHAUSTED: "Host physical memory is used up.",
  /** A stated bound other than frames (slots, vCPUs, VMAs, records) has been reached. */
  LIMIT_REACHED: "A limit of the machine has been reached.",
  /** A host mapping request (mmap, munmap, mprotect, madvise) that no kernel would accept. */
  VMA_INVALID: "The host mapping is not valid.",
  /** A worker thread ended before its task did; locks that it held have been abandoned. */
  WORKER_DIED: "A worker ended before its work did.",
  /** The caller, an AbortSignal or Ctrl-C stopped the run. */
  ABORTED: "The run was stopped before its end.",
  /** The core found a broken invariant and trapped; the message says which. */
  CORE_TRAP: "The core trapped.",
  /** A machine, vCPU or view was used after it had been disposed of. */
  DISPOSED: "The object has been disposed of.",
  /** Something is under way (a lock held, a vCPU in guest mode, an invalidation open) that must end first. */
  MACHINE_BUSY: "The machine is busy.",
  /** Bytes that are not a saved machine, or one that was cut off, changed, or saved by another version. */
  SAVE_INVALID: "The saved machine cannot be used.",
  /** An access that the caller relied on drew an architectural fault or an exit. */
  ACCESS_FAULTED: "The guest access did not succeed.",
  /** An option of the command line, or an argument of a function, that is not one of those accepted. */
  USAGE: "An option or argument is not acceptable.",
  /** Something well-formed that this version, this platform or this build cannot do. */
  UNSUPPORTED: "This is not supported here.",
  /** A trace that cannot be opened or read, or whose compressed data are damaged. */
  TRACE_UNREADABLE: "The trace cannot be read.",
  /** A line of a trace that is neither an access nor a message of the tracer. */
  TRACE_MALFORMED: "The trace has a malformed line.",
  /** A trace without a single access. */
  TRACE_EMPTY: "The trace has no accesses.",
  /** A compressed trace that ends before its own end mark. */
  TRACE_TRUNCATED: "The compressed trace ends too early.",
  /** A memory image that cannot be opened or read, or whose compressed data are damaged. */
  IMAGE_UNREADABLE: "The memory image cannot be read.",
  /** A memory image with a header or a record that no writer of its format makes. */
  IMAGE_INVALID: "The memory image is malformed.",
  /** A memory image that ends before its headers, or its compressed data, do. */
  IMAGE_TRUNCATED: "The memory image ends too early.",
  /** A compressed memory image that unpacks to more than the limit. */
  IMAGE_TOO_LARGE: "The memory image unpacks to more than the limit.",
} as const;

/** Names the kind of a failure; stable, for programs. */
export type GuestMmuErrorCode = keyof typeof ERROR_SENTENCES;

/** What may be said about one failure beside its code. */
export interface GuestMmuErrorDetails {
  /** What happened, to what and where, in one sentence. Default: the sentence of the code. */
  readonly message?: string;
  /** The next step for whoever reads it, as an imperative sentence. */
  readonly hint: string;
  /** The lower-level error that led here, if any. */
  readonly cause?: unknown;
}

/** An error in messages between threads, or in an embedder's JSON: a structured clone drops `code`. */
export interface GuestMmuErrorJson {
  readonly name: "GuestMmuError";
  readonly code: GuestMmuErrorCode;
  readonly message: string;
  readonly hint: string;
  /** Message of the cause, without its stack; absent when there is no cause. */
  readonly cause?: string;
}

/**
 * A failure with a stable code and a remedy.
 *
 * ```ts
 * throw new GuestMmuError("MEMORY_NOT_SHARED", { hint: "Serve the page with COOP and COEP headers." });
 * ```
 */
export class GuestMmuError extends Error {
  override readonly name = "GuestMmuError";
  readonly code: GuestMmuErrorCode;
  readonly hint: string;

  constructor(code: GuestMmuErrorCode, details: GuestMmuErrorDetails) {
    super(
      details.message ?? ERROR_SENTENCES[code],
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.hint = details.hint;
  }

  /** A plain object that survives JSON and structured clones; `fromJSON` turns it back into an error. */
  toJSON(): GuestMmuErrorJson {
    const { name, code, message, hint, cause } = this;
    return { name, code, message, hint, ...(cause === undefined ? {} : { cause: sentenceOf(cause) }) };
  }

  /** Rebuilds an error that another thread reported. The stack is the caller's, the cause a string. */
  static fromJSON(json: GuestMmuErrorJson): GuestMmuError {
    return new GuestMmuError(json.code, { message: json.message, hint: json.hint, cause: json.cause });
  }
}

/** `USAGE`: an option or argument that is not acceptable, named in the message; the hint says what is. */
export function usageError(message: string, hint: string, cause?: unknown): GuestMmuError {
  return new GuestMmuError("USAGE", { message, hint, cause });
}

function sentenceOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

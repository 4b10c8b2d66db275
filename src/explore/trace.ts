/**
 * One execution, access by access: what a replay records, and what the reports render. Plain data, so that it can be
 * written as JSON and read by another program.
 */

/** What an access does. A `copy` has two ranges: it is one event. */
export type AccessKind =
  "load" | "store" | "modify" | "compare" | "wait" | "notify" | "copy" | "fill" | "choose";

/** Where in the core an access stands. */
export interface Site {
  /** Function as the source names it, for example `RwLock.readLock`. */
  readonly function: string;
  /** Path below the repository, for example `assembly/sync/rwlock.ts`. */
  readonly file: string;
  /** Line, from 1; 0 if the compiler gave none. */
  readonly line: number;
  readonly kind: AccessKind;
  /** Through sync/ops, hence atomic; plain accesses are data of one actor, or guest data. */
  readonly atomic: boolean;
  /** Bytes; 0 for what says its length at run time. */
  readonly size: number;
}

/** An event of the lab build (assembly/note.ts). */
export interface NoteEvent {
  /** `Note`, bits 7:0 of what the core passed. */
  readonly kind: number;
  /** Bits 15:8. */
  readonly sub: number;
  /** Bits 31:16. */
  readonly detail: number;
  readonly a: bigint;
  readonly b: bigint;
}

/**
 * How an access stands to memory under a model other than sequential consistency (src/explore/memory-model.ts):
 *
 *   buffered   a store goes into the actor's store buffer: nobody else sees it yet
 *   drained    a buffered store reaches memory; its place is that of the store
 *   forwarded  a load finds what the actor's own buffer has for the word, not what memory has
 *   late       a load finds a value that the word no longer has
 */
export type Passage = "buffered" | "drained" | "forwarded" | "late";

/** One access. */
export interface TraceAccess {
  /** The scheduling step it belongs to: those of one step have nobody else's between them. From 0. */
  readonly step: number;
  /** Index in `Trace.actors`. */
  readonly actor: number;
  readonly site: Site;
  /** First byte; of a copy the destination. 0 for `choose`. */
  readonly address: number;
  readonly size: number;
  /** Value before and after, little-endian, at most 8 bytes; of a choice, how many there were and which was taken. */
  readonly before: bigint;
  readonly after: bigint;
  /** Another actor touches the word too in this execution, and one of them writes it. */
  readonly shared: boolean;
  /** Left out where the access is one to memory there and then, as all are under sequential consistency. */
  readonly passage?: Passage;
  /** Of a `late` load: what memory had. */
  readonly memory?: bigint;
  /** What the core told right after it. */
  readonly notes: readonly NoteEvent[];
}

/** What an actor stands for. */
export type ActorKind = "vcpu" | "host" | "device" | "hardware" | "grace";

/** One of those who act. */
export interface TraceActor {
  readonly name: string;
  readonly kind: ActorKind;
  /** Index of its block in the machine. */
  readonly index: number;
}

/** How an execution ended. */
export interface TraceEnd {
  readonly kind: "done" | "violation" | "trap" | "deadlock" | "livelock" | "error";
  /** Name of the checker that objected, of the trap, or "". */
  readonly name: string;
  /** One sentence: what happened, with numbers. */
  readonly says: string;
}

/** One execution. */
export interface Trace {
  readonly scenario: string;
  readonly profile: string;
  readonly model: string;
  readonly rulesOff: readonly string[];
  readonly actors: readonly TraceActor[];
  readonly accesses: readonly TraceAccess[];
  readonly end: TraceEnd;
  /** Region bases and counts of the machine: what names addresses. */
  readonly layout: MachineLayout;
  /** Changes of the running actor. */
  readonly switches: number;
  /** The command that repeats it. */
  readonly repeat: string;
}

/** Where the parts of the explored machine are (header words). */
export interface MachineLayout {
  readonly actorsBase: number;
  readonly histogramsBase: number;
  readonly slotsBase: number;
  readonly vmasBase: number;
  readonly filesBase: number;
  readonly tlbsBase: number;
  readonly walkCachesBase: number;
  readonly batchesBase: number;
  readonly pagesBase: number;
  readonly framesBase: number;
  readonly frameCount: number;
  readonly vcpuCount: number;
  readonly hostCount: number;
  readonly slotMax: number;
  readonly filePages: number;
  readonly tlbEntries: number;
  readonly tlbLargeEntries: number;
  readonly size: number;
}

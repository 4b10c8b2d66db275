/**
 * An execution as a Chrome trace (JSON object format), for Perfetto (ui.perfetto.dev) or chrome://tracing: a track for every
 * actor with a slice for every stretch of accesses in one function, a track for every page, leaf and window with a slice for
 * each of its states, counters of the retry protocol, events as instants, and arrows between accesses whose order matters. An
 * access takes one microsecond: time is the order of accesses, nothing else.
 */

import { accessInWords, noteInWords, noteName, type Reading } from "../explore/words.js";
import { placeOf, rolesOf } from "../explore/names.js";
import { type Site, type Trace } from "../explore/trace.js";
import { conflictsOf, raceTurns, siteInWords } from "./race-lines.js";
import { isOfMemory } from "./race-subjects.js";
import { statesTold, type StateKind, type StateRow } from "./race-state.js";

/** One event of the format: the fields that it has in common, and those of its phase. */
export interface TraceEvent {
  readonly ph: "X" | "i" | "C" | "s" | "f" | "M";
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds: the number of the access. */
  readonly ts: number;
  readonly cat?: string;
  readonly dur?: number;
  /** Of a flow: both ends have the same. */
  readonly id?: number;
  /** Of a flow's end: binds to the slice that encloses it. */
  readonly bp?: "e";
  /** Of an instant: the track it belongs to. */
  readonly s?: "t" | "p";
  readonly args?: Readonly<Record<string, string | number>>;
}

/** The file. */
export interface PerfettoTrace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: "ns";
  readonly otherData: Readonly<Record<string, string>>;
}

const PID = 1;
/** Words whose values are worth a curve. */
const COUNTERS: ReadonlySet<string> = new Set([
  "kvm.mmu_invalidate_in_progress",
  "kvm.mmu_invalidate_seq",
  "kvm.mn_active_invalidate_count",
]);

/** Threads are numbered from 1: viewers treat 0 as the idle thread. */
function threadOf(actor: number): number {
  return actor + 1;
}

const STATE_WORDS: Readonly<Record<StateKind, string>> = {
  window: "invalidation of ",
  page: "",
  pte: "pte ",
  spte: "spte ",
  tlb: "",
};

/** Tracks of what has a state stand below those of the actors. */
function trackOf(trace: Trace, row: number): number {
  return threadOf(trace.actors.length + row);
}

/** What the race page shows beside the lanes. */
function stateRows(trace: Trace): StateRow[] {
  return statesTold(
    trace,
    raceTurns(trace).flatMap(({ lines }) => lines),
  );
}

/** A slice for each stretch of time in which a page, a leaf or a window is in one state. */
function states(trace: Trace, rows: readonly StateRow[]): TraceEvent[] {
  return rows.flatMap(({ initial, changes }, row) => {
    const moments = [[0, initial] as const, ...changes];
    return moments.flatMap(([from, value], i): TraceEvent[] => {
      const to = moments[i + 1]?.[0] ?? trace.accesses.length;
      if (to <= from) return [];
      const tid = trackOf(trace, row);
      return [
        {
          ph: "X",
          name: value === "" ? "none" : value,
          cat: "state",
          pid: PID,
          tid,
          ts: from,
          dur: to - from,
        },
      ];
    });
  });
}

function metadata(trace: Trace, rows: readonly StateRow[]): TraceEvent[] {
  const meta = (name: string, tid: number, args: Record<string, string | number>): TraceEvent => ({
    ph: "M",
    name,
    pid: PID,
    tid,
    ts: 0,
    args,
  });
  return [
    meta("process_name", 0, { name: `guestmmu ${trace.scenario}` }),
    ...trace.actors.flatMap(({ name }, actor) => [
      meta("thread_name", threadOf(actor), { name }),
      meta("thread_sort_index", threadOf(actor), { sort_index: actor }),
    ]),
    ...rows.flatMap(({ kind, name }, row) => [
      meta("thread_name", trackOf(trace, row), { name: STATE_WORDS[kind] + name }),
      meta("thread_sort_index", trackOf(trace, row), { sort_index: trace.actors.length + row }),
    ]),
  ];
}

function sameFunction(a: Site, b: Site): boolean {
  return a.function === b.function && a.file === b.file;
}

/** A slice for each stretch of accesses of one actor in one function, and in it one for each access. */
function slices(trace: Trace, reading: Reading): TraceEvent[] {
  const events: TraceEvent[] = [];
  const { accesses } = trace;
  for (let first = 0; first < accesses.length;) {
    const { actor, site } = accesses[first]!;
    let end = first + 1;
    while (end < accesses.length && accesses[end]!.actor === actor && sameFunction(accesses[end]!.site, site))
      end++;
    const common = { ph: "X", pid: PID, tid: threadOf(actor) } as const;
    const args = { file: site.file, line: site.line };
    events.push({
      ...common,
      name: site.function || "unknown",
      cat: "function",
      ts: first,
      dur: end - first,
      args,
    });
    for (let i = first; i < end; i++) {
      const access = accesses[i]!;
      const details = { place: siteInWords(access.site), step: access.step, kind: access.site.kind };
      const name = accessInWords(reading, access);
      events.push({ ...common, name, cat: access.shared ? "shared" : "local", ts: i, dur: 1, args: details });
    }
    first = end;
  }
  return events;
}

function instants(trace: Trace, reading: Reading): TraceEvent[] {
  return trace.accesses.flatMap(({ actor, notes }, index) =>
    notes.map((event): TraceEvent => {
      const args = { event: noteName(event.kind) ?? event.kind };
      // Half way through the access that it belongs to, so that viewers draw it on that slice.
      const common = {
        ph: "i",
        cat: "event",
        pid: PID,
        tid: threadOf(actor),
        ts: index + 0.5,
        s: "t",
      } as const;
      return { ...common, name: noteInWords(reading, event), args };
    }),
  );
}

function counters(trace: Trace): TraceEvent[] {
  const seen = new Map<string, bigint>();
  return trace.accesses.flatMap((access, index): TraceEvent[] => {
    const { name } = placeOf(trace.layout, access.address, access.size);
    if (!COUNTERS.has(name) || !isOfMemory(access)) return [];
    const sample = (ts: number, value: bigint): TraceEvent => {
      const common = { ph: "C", name, pid: PID, tid: 0 } as const;
      return { ...common, ts, args: { value: Number(value) } };
    };
    const events = seen.has(name) ? [] : [sample(0, access.before)];
    const known = seen.get(name) ?? access.before;
    if (access.after !== known) events.push(sample(index, access.after));
    seen.set(name, access.after);
    return events;
  });
}

function flows(trace: Trace): TraceEvent[] {
  const told = new Set(raceTurns(trace).flatMap(({ lines }) => lines.map(({ index }) => index)));
  return conflictsOf(trace, told).flatMap(({ from, to }, id): TraceEvent[] => {
    const common = { name: "order", cat: "conflict", pid: PID, id: id + 1 } as const;
    const end = (index: number): { tid: number; ts: number } => ({
      tid: threadOf(trace.accesses[index]!.actor),
      ts: index + 0.5,
    });
    return [
      { ...common, ...end(from), ph: "s" },
      { ...common, ...end(to), ph: "f", bp: "e" },
    ];
  });
}

/** Where it went wrong. */
function verdict(trace: Trace): TraceEvent[] {
  const { end, accesses } = trace;
  if (end.kind === "done") return [];
  const common = { ph: "i", cat: "end", pid: PID, ts: accesses.length, s: "p" } as const;
  const tid = threadOf(accesses.at(-1)?.actor ?? 0);
  return [{ ...common, tid, name: `${end.kind} ${end.name}`.trim(), args: { says: end.says } }];
}

/** The execution as a plain object, to be written as JSON. */
export function perfettoTrace(trace: Trace): PerfettoTrace {
  const reading: Reading = { layout: trace.layout, roles: rolesOf(trace) };
  const rows = stateRows(trace);
  const timed = [
    ...slices(trace, reading),
    ...states(trace, rows),
    ...instants(trace, reading),
    ...counters(trace),
    ...flows(trace),
    ...verdict(trace),
  ];
  // Stable: a function's slice stays before those of its accesses.
  timed.sort((a, b) => a.ts - b.ts);
  return {
    traceEvents: [...metadata(trace, rows), ...timed],
    displayTimeUnit: "ns",
    otherData: {
      scenario: trace.scenario,
      profile: trace.profile,
      model: trace.model,
      "rules off": trace.rulesOff.join(", "),
      repeat: trace.repeat,
    },
  };
}

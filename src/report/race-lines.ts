/**
 * Which accesses of an execution matter, and what is to be said of each: the lines that a race table and a race page show.
 *
 * What matters is an order: two actors at one word, one of them writing. Of the reads of a word those count that come last
 * before another's write, function by function, and those that come first after one. An execution ends with the objection,
 * often before the second actor comes to a word. Therefore some accesses are told whoever else makes one: those of a vCPU to
 * the words of the retry protocol, those to leaves that map the pages it is about (race-subjects.ts), to the counts of these,
 * the last ones to what the objection names, and the very last of all. Beside them stand the events that concern pages,
 * translations, windows and flushes, as far as they are about these pages. Locks that only one actor takes, allocation,
 * statistics and the upper levels of tables are left out.
 */

import { placeOf, rolesOf, type Place } from "../explore/names.js";
import { accessInWords, noteInWords, noteName, type NoteName, type Reading } from "../explore/words.js";
import { type NoteEvent, type Site, type Trace, type TraceAccess } from "../explore/trace.js";
import { Subjects, isOfMemory, writes, type Item } from "./race-subjects.js";

/** What a line is about: for colours. */
export type Tone = "access" | "read" | "window" | "page" | "translation" | "guest" | "lock" | "quiet";

/** One line. */
export interface RaceLine {
  /** Index of the access in the trace. */
  readonly index: number;
  readonly step: number;
  readonly actor: number;
  readonly text: string;
  /** Undefined for an event that begins or ends something, and belongs to no access. */
  readonly site: Site | undefined;
  /** Locks that the actor holds, of those that the lines tell of. */
  readonly depth: number;
  readonly tone: Tone;
}

/** Accesses of one actor with nobody else's between them. */
export interface Turn {
  readonly actor: number;
  readonly lines: readonly RaceLine[];
  /** Accesses of the turn. */
  readonly count: number;
  /** First access that the actor makes when it runs again; undefined if it does not. */
  readonly next: TraceAccess | undefined;
}

/** `retry.ts:41 retryReason`. */
export function siteInWords(site: Site | undefined): string {
  if (site === undefined) return "";
  const file = site.file.slice(site.file.lastIndexOf("/") + 1);
  return `${file}${site.line > 0 ? `:${site.line}` : ""} ${site.function}`.trim();
}

/** Binds, with no-break spaces, what must not be torn apart: `0 -> 1`, `= 5`, `pfn 3 RWX AD`. */
export function glue(text: string): string {
  return text
    .replace(/pfn \d+ [RWX-]{3}( [AD]+)?/g, (entry) => entry.replaceAll(" ", "\u00a0"))
    .replaceAll(" -> ", "\u00a0->\u00a0")
    .replace(/ ([=+-]) /g, " $1\u00a0");
}

/** Reads of these repeat without end; of interest only where another's write is met, or just missed. */
const POLLED: ReadonlySet<Place["word"]> = new Set(["mode", "requests"]);
/** What a page fault takes its snapshot of, and compares: told of every vCPU, and every write. */
const RETRY: ReadonlySet<string> = new Set(["kvm.mmu_invalidate_seq", "kvm.mmu_invalidate_in_progress"]);
const QUIET: ReadonlySet<Place["word"]> = new Set(["statistic", "private", "epoch", "reader", "owner"]);

/** Events that are told whatever they are about. */
const LOUD: Partial<Record<NoteName, Tone>> = {
  NotifyStart: "window",
  NotifyStarted: "window",
  NotifyEnd: "window",
  Range: "window",
  HostFlush: "translation",
  FlushDone: "translation",
  TlbFlush: "translation",
  TlbDrop: "translation",
  GuestEnter: "guest",
  GuestExit: "guest",
  MapTaken: "translation",
  MapUse: "guest",
  MapDropped: "translation",
  GpcValid: "translation",
  GpcInvalid: "translation",
  GpcUse: "guest",
  FileRemove: "page",
  PinTaken: "page",
  PinDropped: "page",
  PgmapGone: "window",
  SlotsPublished: "window",
  SlotDeleted: "window",
  RootInvalid: "window",
};

/** Events about one page: told of those that the actors meet at. */
const ABOUT_PAGE: Partial<Record<NoteName, { readonly tone: Tone; readonly pfn: (e: NoteEvent) => bigint }>> =
  {
    PageAlloc: { tone: "page", pfn: ({ a }) => a },
    PageFree: { tone: "page", pfn: ({ a }) => a },
    MetaUse: { tone: "page", pfn: ({ a }) => a },
    FileAdd: { tone: "page", pfn: ({ a }) => a },
    TlbFill: { tone: "translation", pfn: ({ b }) => b >> 12n },
  };

/** Events that say what the write before them did: the write is told, in its own words. */
const OF_WRITE: Partial<Record<NoteName, readonly Place["word"][]>> = {
  HostLeaf: ["pte", "data"],
  SpteLeaf: ["spte", "data"],
  PageGet: ["refcount"],
  PagePut: ["refcount"],
};

/** Told between two accesses: the place of the one before says nothing about them. */
const BETWEEN: ReadonlySet<NoteName | undefined> = new Set([
  "NotifyStart",
  "NotifyStarted",
  "NotifyEnd",
  "FlushBegin",
  "FlushDone",
]);

const USES: ReadonlySet<NoteName | undefined> = new Set(["GuestUse", "DmaUse", "HostUse"]);

/** What one line is made of, before locks and merging. */
interface Draft extends RaceLine {
  /** Name of the event it tells of; undefined for an access. */
  readonly note: NoteName | undefined;
  readonly access: TraceAccess;
  readonly lock?: bigint;
  readonly read: boolean;
  readonly polled: boolean;
}

class Selection {
  readonly reading: Reading;
  readonly items: readonly Item[];
  private readonly trace: Trace;
  readonly subjects: Subjects;
  /** Items of each word, by address. */
  private readonly byAddress = new Map<number, Item[]>();

  constructor(trace: Trace) {
    this.trace = trace;
    this.reading = { layout: trace.layout, roles: rolesOf(trace) };
    this.items = trace.accesses.map((access, index) => ({
      index,
      access,
      place: placeOf(trace.layout, access.address, access.size, this.reading.roles),
    }));
    for (const item of this.items) {
      if (item.access.site.kind === "choose") continue;
      const known = this.byAddress.get(item.access.address);
      if (known === undefined) this.byAddress.set(item.access.address, [item]);
      else known.push(item);
    }
    this.subjects = new Subjects(trace, this.items, this.reading.roles);
  }

  meetsAt(pfn: bigint): boolean {
    return this.subjects.has(Number(pfn));
  }

  /** Words of the objection, and what its last access is: told whatever they are. */
  lastOnes(): Item[] {
    const { kind } = this.trace.end;
    if (kind === "done" || kind === "livelock") return [];
    const last = this.items.at(-1);
    const isFinal = last !== undefined && kind !== "deadlock" && !this.isByTheWay(last);
    return this.subjects.lastOfNamed(this.items, isFinal ? last.access.address : undefined);
  }

  /**
   * An access that only happens to be the last: an actor leaves a read section, an event comes between two accesses, or is
   * told right after a word of the processor was written, such as a TLB entry.
   */
  private isByTheWay({ access, place }: Item): boolean {
    const names = access.notes.map(({ kind }) => noteName(kind));
    if (names.some((name) => BETWEEN.has(name))) return true;
    // A page's free is told with its last reference.
    if (names.includes("PageFree") && place.word === "page-flags") return true;
    if (place.word === "private" && names.length > 0) return true;
    return QUIET.has(place.word) && names.every((name) => name === "ReadLeave");
  }

  /** An access that is told whether or not another actor touches the word: see the head of this file. */
  isStory(item: Item): boolean {
    const { access, place } = item;
    if (access.site.kind === "choose") return false;
    if (RETRY.has(place.name)) return writes(access) || this.trace.actors[access.actor]?.kind === "vcpu";
    if (place.word === "refcount") return writes(access) && this.meetsAt(BigInt(place.of ?? 0));
    // A walk reads the secondary MMU's leaves at every turn: of interest where another writes them.
    if (place.word === "spte" && !writes(access)) return false;
    return this.subjects.isLeafOfPage(item);
  }

  nameOf(address: bigint): string {
    return placeOf(this.reading.layout, Number(address), 4, this.reading.roles).name;
  }

  pfnAt(address: bigint): bigint {
    return (address - BigInt(this.trace.layout.framesBase)) >> 12n;
  }

  /** Another actor's write comes next to this word, without an access of this actor in `scope` before it. */
  private justMissed(item: Item, scope: (later: Item) => boolean): boolean {
    const all = this.byAddress.get(item.access.address) ?? [];
    for (const later of all.slice(all.indexOf(item) + 1)) {
      if (later.access.actor !== item.access.actor) {
        if (writes(later.access) && isOfMemory(later.access)) return true;
      } else if (scope(later)) return false;
    }
    return false;
  }

  /** Another actor has written the word since this one's last access to it. */
  private met(item: Item): boolean {
    const all = this.byAddress.get(item.access.address) ?? [];
    for (const earlier of all.slice(0, all.indexOf(item)).reverse()) {
      if (earlier.access.actor === item.access.actor) return false;
      if (writes(earlier.access)) return true;
    }
    return false;
  }

  /** An access that belongs to an order between actors. */
  conflicts(item: Item): boolean {
    const { access, place } = item;
    if (access.site.kind === "wait" || access.site.kind === "choose" || this.isStory(item)) return true;
    if (!access.shared || QUIET.has(place.word) || this.isAllocator(place)) return false;
    // What a memory model makes of an order is what the reader looks for.
    if (access.passage !== undefined) return true;
    // A table that is cleared before use.
    if (access.site.kind === "fill" && this.subjects.isTable(place.of ?? -1)) return false;
    if (writes(access)) return !this.isLink(item);
    if (this.isLink(item) || access.site.kind === "notify") return false;
    if (POLLED.has(place.word)) {
      return this.met(item) || (this.justMissed(item, () => true) && this.runsOnInGuest(item));
    }
    const sameFunction = (later: Item): boolean => later.access.site.function === access.site.function;
    return this.met(item) || this.justMissed(item, sameFunction);
  }

  /** A write of an entry that leads to a table, not to a page; a read that goes on to that table. */
  private isLink(item: Item): boolean {
    const entry = this.subjects.entry(item);
    if (entry === undefined || entry.isLeaf) return false;
    return writes(item.access) || entry.pfns.length > 0;
  }

  private isAllocator({ name }: Place): boolean {
    return (
      name.startsWith("zone.") || /\.pool\.|^page\[\d+\]\.(next|previous|head|mapcount|own|flags)/.test(name)
    );
  }

  /** The actor neither enters nor leaves guest mode until another one acts. */
  private runsOnInGuest(item: Item): boolean {
    for (const { access } of this.items.slice(item.index + 1)) {
      if (access.actor !== item.access.actor) return true;
      if (access.notes.some(({ kind }) => noteName(kind) === "GuestExit")) return false;
    }
    return true;
  }
}

function toneOf(place: Place, access: TraceAccess): Tone {
  if (place.word === "refcount") return "page";
  if (place.word === "pte" || place.word === "spte") return writes(access) ? "translation" : "read";
  return writes(access) ? "access" : "read";
}

/** Lines of accesses that are told for themselves, or because an event after them is about them. */
function draftAccesses(selection: Selection): Draft[] {
  const chosen = new Set<Item>(selection.items.filter((item) => selection.conflicts(item)));
  for (const item of selection.lastOnes()) chosen.add(item);
  const lastWrites = new Map<number, Item[]>();
  for (const item of selection.items) {
    const mine = lastWrites.get(item.access.actor) ?? [];
    lastWrites.set(item.access.actor, mine);
    if (writes(item.access)) mine.push(item);
    for (const note of item.access.notes) {
      const words = OF_WRITE[noteName(note.kind) ?? "MaySleep"];
      const write = words && mine.findLast(({ place }) => words.includes(place.word));
      if (write && concernsPages(selection, write, note)) chosen.add(write);
    }
  }
  return [...chosen].map((item) => ({
    index: item.index,
    step: item.access.step,
    actor: item.access.actor,
    site: item.access.site,
    text: accessInWords(selection.reading, item.access),
    depth: 0,
    tone: toneOf(item.place, item.access),
    note: undefined,
    access: item.access,
    read: !writes(item.access),
    polled: POLLED.has(item.place.word),
  }));
}

function concernsPages(selection: Selection, { access, place }: Item, note: NoteEvent): boolean {
  if (place.word === "refcount") return selection.meetsAt(note.a);
  const entry = access.after === 0n ? access.before : access.after;
  return selection.meetsAt((entry >> 12n) & 0xffffffffn);
}

/** What is to be said of an event, if anything. */
function toneOfNote(selection: Selection, name: NoteName | undefined, event: NoteEvent): Tone | undefined {
  if (name === undefined) return "quiet";
  if (USES.has(name)) return selection.meetsAt(selection.pfnAt(event.b >> 1n)) ? "guest" : undefined;
  const about = ABOUT_PAGE[name];
  if (about !== undefined) return selection.meetsAt(about.pfn(event)) ? about.tone : undefined;
  if (name === "TableFree")
    return selection.subjects.isNamedFrame(Number(event.a)) ? "translation" : undefined;
  if (name === "ReadEnter" || name === "ReadLeave")
    return selection.subjects.areSections ? "access" : undefined;
  if (name === "LockTaken" || name === "LockDropped") return "lock";
  return LOUD[name];
}

function draftNotes(selection: Selection, trace: Trace): Draft[] {
  const contested = contestedLocks(trace);
  const isTold = (lock: bigint): boolean =>
    contested.has(lock) || selection.subjects.isCalled(selection.nameOf(lock));
  return selection.items.flatMap(({ index, access }) =>
    access.notes.flatMap((event): Draft[] => {
      const name = noteName(event.kind);
      const tone = toneOfNote(selection, name, event);
      if (tone === undefined || (tone === "lock" && !isTold(event.a))) return [];
      const site = BETWEEN.has(name) ? undefined : access.site;
      const line = { index, step: access.step, actor: access.actor, site, depth: 0, tone };
      const text = noteInWords(selection.reading, event);
      const draft = { ...line, text, note: name, access, read: false, polled: false };
      return [tone === "lock" ? { ...draft, lock: event.a } : draft];
    }),
  );
}

/** Locks that two actors take. */
function contestedLocks(trace: Trace): ReadonlySet<bigint> {
  const takers = new Map<bigint, Set<number>>();
  for (const { actor, notes } of trace.accesses) {
    for (const { kind, a } of notes) {
      const name = noteName(kind);
      if (name !== "LockTaken" && name !== "LockWanted") continue;
      takers.set(a, (takers.get(a) ?? new Set()).add(actor));
    }
  }
  return new Set([...takers].filter(([, actors]) => actors.size > 1).map(([lock]) => lock));
}

/** Number of the turn of each access: raised at every change of the actor. */
function turnNumbers(trace: Trace): number[] {
  let turn = 0;
  return trace.accesses.map(({ actor }, index) => {
    if (index > 0 && trace.accesses[index - 1]!.actor !== actor) turn++;
    return turn;
  });
}

/** The word of the line before, with the value it had there. */
function isSame(a: Draft, b: Draft): boolean {
  return a.access.address === b.access.address && a.access.after === b.access.after;
}

/** A line after which `b` says the same and more. */
function isSaidBy(a: Draft, b: Draft): boolean {
  if (a.access.passage !== undefined && a.note === undefined) return false;
  if (a.note === undefined && b.note === undefined && a.access.address === b.access.address) {
    // A read right before the write of the same word; or the same read again, of the same function.
    return a.read && (!b.read || (a.access.site.function === b.access.site.function && a.text === b.text));
  }
  // The range is two words, and an event for each.
  if (a.note === "Range") return b.note === "Range";
  if (b.note === "TlbFlush") return a.note === undefined && a.text.endsWith(".requests - TlbFlush");
  if (b.note === "GuestEnter" || b.note === "GuestExit")
    return a.note === undefined && a.text.includes(".mode ");
  return false;
}

/** Leaves out what the next line of the same turn says as well; a free is said with the last reference. */
function merge(drafts: readonly Draft[], turns: readonly number[]): Draft[] {
  const merged: Draft[] = [];
  for (const draft of drafts) {
    const last = merged.at(-1);
    const follows = last !== undefined && turns[last.index] === turns[draft.index];
    if (follows && draft.note === "PageFree" && last.text.endsWith(": the last reference")) {
      merged[merged.length - 1] = { ...last, text: last.text.replace(/: the last reference$/, ": freed") };
      continue;
    }
    if (follows && draft.polled && draft.read && last.polled && isSame(last, draft)) continue;
    if (follows && isSaidBy(last, draft)) merged.pop();
    merged.push(draft);
  }
  return merged;
}

/** Leaves out a stay in guest mode, and shortens a lock's section, in which nothing happens. */
function foldEmpty(drafts: readonly Draft[], turns: readonly number[]): Draft[] {
  const folded: Draft[] = [];
  for (const draft of drafts) {
    const last = folded.at(-1);
    const follows = last !== undefined && turns[last.index] === turns[draft.index];
    if (follows && last.note === "GuestEnter" && draft.note === "GuestExit") {
      folded.pop();
    } else if (
      follows &&
      last.note === "LockTaken" &&
      draft.note === "LockDropped" &&
      last.lock === draft.lock
    ) {
      folded[folded.length - 1] = {
        ...last,
        note: undefined,
        text: last.text.replace("takes", "takes and drops"),
      };
    } else folded.push(draft);
  }
  return folded;
}

/** Depth by the locks that each actor holds; a release that nothing of others separates from the section goes unsaid. */
function indent(drafts: readonly Draft[], turns: readonly number[]): RaceLine[] {
  const held = new Map<number, { lock: bigint; turn: number }[]>();
  const lines: RaceLine[] = [];
  for (const draft of drafts) {
    const { note, lock, index, step, actor, text, site, tone } = draft;
    const line = { index, step, actor, text, site, tone };
    const mine = held.get(line.actor) ?? [];
    held.set(line.actor, mine);
    if (note === "LockDropped") {
      const at = mine.findLastIndex((section) => section.lock === lock);
      const [section] = at < 0 ? [undefined] : mine.splice(at, 1);
      if (section?.turn !== turns[line.index]) lines.push({ ...line, depth: mine.length });
      continue;
    }
    lines.push({ ...line, depth: mine.length });
    if (note === "LockTaken") mine.push({ lock: lock!, turn: turns[line.index]! });
  }
  return lines;
}

function sorted(drafts: Draft[]): Draft[] {
  // Stable: an access before the events that follow it.
  return drafts.sort((a, b) => a.index - b.index);
}

/** One line for a turn in which nothing matters. */
function quietLine(accesses: readonly TraceAccess[], first: number): RaceLine {
  const functions = [...new Set(accesses.map(({ site }) => site.function))];
  const names = functions.length > 2 ? `${functions[0]} ... ${functions.at(-1)}` : functions.join(", ");
  const access = accesses[0]!;
  const text = `${accesses.length} access${accesses.length === 1 ? "" : "es"}: ${names}`;
  return {
    index: first,
    step: access.step,
    actor: access.actor,
    site: access.site,
    text,
    depth: 0,
    tone: "quiet",
  };
}

function everyLine(trace: Trace): RaceLine[] {
  const reading = { layout: trace.layout, roles: rolesOf(trace) };
  return trace.accesses.flatMap((access, index) => {
    const line = { index, step: access.step, actor: access.actor, site: access.site, depth: 0 };
    const tone: Tone = !access.shared ? "quiet" : writes(access) ? "access" : "read";
    const told = access.notes.map((event): RaceLine => {
      const name = noteName(event.kind);
      return { ...line, text: `* ${noteInWords(reading, event)}`, tone: (name && LOUD[name]) ?? "page" };
    });
    return [{ ...line, text: accessInWords(reading, access), tone }, ...told];
  });
}

function linesThatMatter(trace: Trace, turns: readonly number[]): RaceLine[] {
  const selection = new Selection(trace);
  const drafts = sorted([...draftAccesses(selection), ...draftNotes(selection, trace)]);
  return indent(foldEmpty(merge(drafts, turns), turns), turns);
}

/** The lines of an execution, turn by turn. `verbose`: every access and every event. */
export function raceTurns(trace: Trace, verbose = false): Turn[] {
  const numbers = turnNumbers(trace);
  const lines = verbose ? everyLine(trace) : linesThatMatter(trace, numbers);
  const turns: Turn[] = [];
  for (let first = 0; first < numbers.length;) {
    let end = first;
    while (end < numbers.length && numbers[end] === numbers[first]) end++;
    const actor = trace.accesses[first]!.actor;
    const mine = lines.filter(({ index }) => index >= first && index < end);
    if (mine.length === 0) mine.push(quietLine(trace.accesses.slice(first, end), first));
    const next = trace.accesses.slice(end).find((access) => access.actor === actor);
    turns.push({ actor, lines: mine, count: end - first, next });
    first = end;
  }
  return turns;
}

/** Two accesses of different actors to one word, one of them a write, with nobody's access to it between them. */
export interface Conflict {
  /** Indices in the trace. */
  readonly from: number;
  readonly to: number;
}

/** Pairs of the lines' accesses that depend on each other's order. */
export function conflictsOf(trace: Trace, indices: ReadonlySet<number>): Conflict[] {
  const last = new Map<number, number>();
  const pairs: Conflict[] = [];
  trace.accesses.forEach((access, index) => {
    if (!access.shared || access.site.kind === "choose" || !isOfMemory(access)) return;
    if (!indices.has(index)) return;
    const from = last.get(access.address);
    const before = from === undefined ? undefined : trace.accesses[from]!;
    if (from !== undefined && before !== undefined && before.actor !== access.actor) {
      if (writes(before) || writes(access)) pairs.push({ from, to: index });
    }
    last.set(access.address, index);
  });
  return pairs;
}

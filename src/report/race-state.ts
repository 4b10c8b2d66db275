/**
 * The state of what an execution is about, access by access: pages, leaves of the host's tables and of the secondary MMU,
 * and TLB entries, folded from what was accessed and told. What the execution does not touch is not known, and not listed.
 */

import { hex, placeOf, rolesOf, type Place } from "../explore/names.js";
import { isOfMemory } from "./race-subjects.js";
import { noteName, pteInWords, spteInWords } from "../explore/words.js";
import { type NoteEvent, type Trace, type TraceAccess } from "../explore/trace.js";

export type StateKind = "window" | "page" | "pte" | "spte" | "tlb";

/** One thing that has a state. */
export interface StateRow {
  readonly kind: StateKind;
  /** `page 3`, `hva 0x7f0000010000`, `gfn 0x10`, `tlb0 gva 0x10000`. */
  readonly name: string;
  /** Before the first access: "" for a TLB entry that is not there. */
  readonly initial: string;
  /** Index of the access, and the state from there on; ascending. */
  readonly changes: readonly (readonly [index: number, value: string])[];
}

interface Draft {
  kind: StateKind;
  name: string;
  order: bigint;
  initial: string;
  changes: [number, string][];
}

/** refcount and epoch of a page: its state is a text of both. */
interface PageWords {
  refcount: bigint | undefined;
  epoch: bigint | undefined;
}

interface PageAccess {
  readonly index: number;
  readonly field: keyof PageWords;
  readonly before: bigint;
  readonly after: bigint;
}

class Fold {
  readonly rows = new Map<string, Draft>();
  private readonly pages = new Map<number, PageAccess[]>();

  private row(kind: StateKind, name: string, order: bigint, initial: string): Draft {
    const key = `${kind} ${name}`;
    let row = this.rows.get(key);
    if (row === undefined) this.rows.set(key, (row = { kind, name, order, initial, changes: [] }));
    return row;
  }

  private set(row: Draft, index: number, value: string): void {
    if ((row.changes.at(-1)?.[1] ?? row.initial) === value) return;
    if (row.changes.at(-1)?.[0] === index) row.changes.pop();
    row.changes.push([index, value]);
  }

  /** The first access to a word says what it held before all of them. */
  access(index: number, access: TraceAccess, place: Place): void {
    if (!isOfMemory(access)) return;
    if (place.of !== undefined && (place.word === "refcount" || place.name.endsWith(".epoch"))) {
      this.page(index, access, place);
    } else if (place.word === "pte" || place.word === "spte") {
      const words = place.word === "pte" ? pteInWords : spteInWords;
      // Only leaves are followed: what leads to a table says nothing about a page.
      if (!place.name.endsWith(" 4K]") && !isLargeLeaf(access)) return;
      const name = place.name.slice(place.name.indexOf("[") + 1, -1).replace(/ 4K$/, "");
      const row = this.row(place.word, name, BigInt(access.address), words(access.before, 12));
      this.set(row, index, words(access.after, 12));
    }
  }

  private page(index: number, { before, after }: TraceAccess, { of, word }: Place): void {
    const field = word === "refcount" ? "refcount" : "epoch";
    const known = this.pages.get(of!) ?? [];
    known.push({ index, field, before, after });
    this.pages.set(of!, known);
  }

  /** Rows of the pages: what is said of one is made of two words, either of which may be met first. */
  finishPages(): void {
    for (const [pfn, accesses] of this.pages) {
      const first = (field: keyof PageWords): bigint | undefined =>
        accesses.find((access) => access.field === field)?.before;
      const now: PageWords = { refcount: first("refcount"), epoch: first("epoch") };
      const row = this.row("page", `page ${pfn}`, BigInt(pfn), pageInWords(now));
      for (const { index, field, after } of accesses) {
        now[field] = after;
        this.set(row, index, pageInWords(now));
      }
    }
  }

  note(index: number, event: NoteEvent): void {
    const { a, b, detail } = event;
    switch (noteName(event.kind)) {
      case "NotifyStart":
      case "NotifyStarted":
      case "NotifyEnd":
        this.window(index, event);
        break;
      case "TlbFill":
        this.set(
          this.row("tlb", `tlb${detail} gva ${hex(a)}`, a, ""),
          index,
          `pfn ${b >> 12n}${b & 1n ? " W" : ""}`,
        );
        break;
      case "TlbDrop":
        this.set(this.row("tlb", `tlb${detail} gva ${hex(a)}`, a, ""), index, "");
        break;
      case "TlbFlush":
        for (const row of this.rows.values()) {
          if (row.kind === "tlb" && row.name.startsWith(`tlb${detail} `)) this.set(row, index, "");
        }
        break;
      default:
        break;
    }
  }

  private window(index: number, { kind, a, b }: NoteEvent): void {
    const name = `hva ${hex(a)} to ${hex(b)}`;
    const row = this.row("window", name, a, "closed");
    const state = { NotifyStart: "start called", NotifyStarted: "open", NotifyEnd: "closed" } as const;
    this.set(row, index, state[noteName(kind) as keyof typeof state]);
  }
}

function isLargeLeaf({ before, after }: TraceAccess): boolean {
  return ((before | after) & 0x80n) !== 0n;
}

function pageInWords({ refcount, epoch }: PageWords): string {
  const held = refcount === undefined ? "" : refcount === 0n ? "free" : `${BigInt.asIntN(32, refcount)} held`;
  const changed = epoch === undefined ? "" : `epoch ${epoch}`;
  return [held, changed].filter(Boolean).join(", ");
}

const ORDER: readonly StateKind[] = ["window", "page", "pte", "spte", "tlb"];

/** Everything that has a state, in a fixed order: windows, pages, host entries, SPTEs, TLB entries. */
export function raceState(trace: Trace): StateRow[] {
  const fold = new Fold();
  const roles = rolesOf(trace);
  trace.accesses.forEach((access, index) => {
    fold.access(index, access, placeOf(trace.layout, access.address, access.size, roles));
    for (const event of access.notes) fold.note(index, event);
  });
  fold.finishPages();
  const rows = [...fold.rows.values()];
  rows.sort((a, b) => {
    const kinds = ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind);
    return kinds !== 0 ? kinds : a.order < b.order ? -1 : a.order > b.order ? 1 : 0;
  });
  return rows.map(({ kind, name, initial, changes }) => ({ kind, name, initial, changes }));
}

/** State of a row after the access `index`. */
export function stateAt(row: StateRow, index: number): string {
  return row.changes.findLast(([at]) => at <= index)?.[1] ?? row.initial;
}

/**
 * The rows that lines of an execution are about: windows, the pages and leaves that they name. A page that nothing happens to
 * and that no line names would only be noise beside the others. All rows if the lines name none.
 */
export function statesTold(trace: Trace, lines: readonly { readonly text: string }[]): StateRow[] {
  const rows = raceState(trace);
  const named = new Set(
    lines.flatMap(({ text }) =>
      [...text.matchAll(/(?:page\[|page |pfn )(\d+)/g)].map(([, pfn]) => `page ${pfn}`),
    ),
  );
  const isTold = ({ kind, name }: StateRow): boolean => {
    if (kind === "window") return true;
    if (kind === "page") return named.has(name);
    const address = name.replace(/^tlb\d+ /, "");
    return lines.some(({ text }) => text.includes(address));
  };
  const told = rows.filter(isTold);
  return told.length > 0 ? told : rows;
}

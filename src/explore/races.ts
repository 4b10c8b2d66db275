/**
 * Data races of the core: two actors whose next accesses touch the same bytes, one of them writing, one of them plain. By the
 * rules of C11, and of Linux's own (tools/memory-model), such a pair has no meaning: the compiler may have torn, merged or
 * repeated either access. WebAssembly gives both a meaning, so that nothing goes wrong here, which is why it is looked for.
 *
 * Looked for in every state of a full search. A reduced search leaves out states in which the two stand beside each other.
 */

import { Kind, type Automata } from "./automata.js";
import { type ExploredSite } from "./core.js";
import { type Inspected } from "./result.js";
import { TripleTable } from "./tables.js";

/** Name of what is found. */
export const DATA_RACE = "data-race";

/** Accesses that may race, and why. */
export interface RaceException {
  /** Paths of the core that begin so. */
  readonly file: string;
  /** Functions of it; all if left out. */
  readonly functions?: readonly string[];
  readonly reason: string;
}

export const RACE_EXCEPTIONS: readonly RaceException[] = [
  {
    file: "assembly/kvm/access.ts",
    reason:
      "A guest's loads and stores are instructions of the guest: how it synchronises is its own business.",
  },
  { file: "assembly/drive/", reason: "The measuring loops stand for guests and for user space." },
  {
    file: "assembly/host/access.ts",
    reason: "Loads and stores of user space: as of a guest, its own business.",
  },
];

interface Range {
  readonly from: number;
  readonly to: number;
  readonly write: boolean;
}

const enum Plain {
  Unknown = 0,
  No = 1,
  Yes = 2,
}

function isExcepted(site: ExploredSite): boolean {
  return RACE_EXCEPTIONS.some(
    ({ file, functions }) =>
      site.file.startsWith(file) && (functions === undefined || functions.includes(site.function)),
  );
}

/** A site as a report names it. */
function placeOf(site: ExploredSite): string {
  return `${site.function} (${site.file}:${site.line}, ${site.atomic ? "atomic" : "plain"} ${site.kind})`;
}

export class Races {
  readonly #automata: Automata;
  readonly #sites: readonly ExploredSite[];
  readonly #excepted: readonly boolean[];
  readonly #describe: (address: number) => string;
  #passes = -1;
  #plain: Uint8Array = new Uint8Array(1024);
  #pairs = new TripleTable();

  constructor(automata: Automata, sites: readonly ExploredSite[], describe: (address: number) => string) {
    this.#automata = automata;
    this.#sites = sites;
    this.#excepted = sites.map(isExcepted);
    this.#describe = describe;
  }

  /** The first race of a state, null if it has none that was not reported before. */
  readonly inspect = (state: Int32Array): Inspected | null => {
    const n = this.#automata.actors.length;
    if (this.#passes !== this.#automata.passes) this.#forget();
    for (let a = 0; a < n; a++) {
      if (!this.#isPlain(state[a]!)) continue;
      for (let b = 0; b < n; b++) {
        // Two plain accesses are one race, told from the side of the first actor.
        if (b === a || (b < a && this.#isPlain(state[b]!))) continue;
        if (this.#pairs.find(state[a]!, state[b]!, 0) >= 0) continue;
        this.#pairs.add(state[a]!, state[b]!, 0);
        const found = this.#race(state[a]!, state[b]!);
        if (found) return found;
      }
    }
    return null;
  };

  /** The race that `says` tells of, if a state has it. */
  find(state: Int32Array, says: string): Inspected | null {
    for (let a = 0; a < this.#automata.actors.length; a++) {
      if (!this.#looksPlain(state[a]!)) continue;
      for (let b = 0; b < this.#automata.actors.length; b++) {
        const found = a === b ? null : this.#race(state[a]!, state[b]!);
        if (found?.says === says) return found;
      }
    }
    return null;
  }

  /** Looks at states from the beginning again: for a second search that has to find the same. */
  forget(): void {
    this.#forget();
  }

  #forget(): void {
    this.#passes = this.#automata.passes;
    this.#plain = new Uint8Array(1024);
    this.#pairs = new TripleTable();
  }

  #isPlain(l: number): boolean {
    if (l >= this.#plain.length) {
      const larger = new Uint8Array(Math.max(l + 1, this.#plain.length * 2));
      larger.set(this.#plain);
      this.#plain = larger;
    }
    if (this.#plain[l] === Plain.Unknown) this.#plain[l] = this.#looksPlain(l) ? Plain.Yes : Plain.No;
    return this.#plain[l] === Plain.Yes;
  }

  #looksPlain(l: number): boolean {
    const { suspension } = this.#automata.local[l]!;
    if (this.#automata.kind.data[l] !== Kind.Access || !suspension) return false;
    return !this.#sites[suspension.site]!.atomic && !this.#excepted[suspension.site];
  }

  /** What a local state is about to touch. */
  #ranges(l: number): readonly Range[] {
    const { kind, suspension } = this.#automata.local[l]!;
    if (!suspension || (kind !== Kind.Access && kind !== Kind.Wait)) return [];
    const { site, address, length, source } = suspension;
    const write = kind === Kind.Access && this.#sites[site]!.kind !== "load";
    const ranges = [{ from: address, to: address + length, write }];
    if (source) ranges.push({ from: source, to: source + length, write: false });
    return ranges;
  }

  #race(l: number, m: number): Inspected | null {
    const { ground, local } = this.#automata;
    const one = local[l]!;
    const other = local[m]!;
    if (!other.suspension || this.#excepted[other.suspension.site]) return null;
    for (const mine of this.#ranges(l)) {
      for (const theirs of this.#ranges(m)) {
        const from = Math.max(mine.from, theirs.from);
        if (from >= Math.min(mine.to, theirs.to) || !(mine.write || theirs.write)) continue;
        const word = from >>> 2;
        if (ground.internal(word) || ground.ignored(word)) continue;
        const says =
          `${this.#describe(from)}: ${placeOf(this.#sites[one.suspension!.site]!)} and ` +
          `${placeOf(this.#sites[other.suspension.site]!)} at the same time`;
        const then = [one, other].map(({ actor }) => ({ actor, way: 0 }));
        return { name: DATA_RACE, says, then };
      }
    }
    return null;
  }
}

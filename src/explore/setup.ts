/** A scenario made ready: its machine brought to the start of the race, the explored core bound to the same memory. */

import { createHash } from "node:crypto";
import { ABI, LAB_ABI } from "../core/abi.js";
import {
  ACTOR_FAULT,
  ACTOR_MAPS,
  ACTOR_POOL,
  ACTOR_SIZE,
  ACTOR_STATS,
  ACTOR_WALK,
  ACTOR_CPU,
  CPU_GENERATION,
  CPU_INVALIDATIONS,
  CPU_KEPT_GENERATION,
  FAULT_MANAGED,
  FAULT_ROOT,
  HEADER_OFFSET_ACTORS_BASE,
  HEADER_OFFSET_BATCHES_BASE,
  HEADER_OFFSET_FILES_BASE,
  HEADER_OFFSET_FILE_PAGES,
  HEADER_OFFSET_FRAMES_BASE,
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_HISTOGRAMS_BASE,
  HEADER_OFFSET_HOST_COUNT,
  HEADER_OFFSET_PAGES_BASE,
  HEADER_OFFSET_SIZE,
  HEADER_OFFSET_SLOTS_BASE,
  HEADER_OFFSET_SLOT_MAX,
  HEADER_OFFSET_TLB_ENTRIES,
  HEADER_OFFSET_TLBS_BASE,
  HEADER_OFFSET_TLB_LARGE_ENTRIES,
  HEADER_OFFSET_VCPU_COUNT,
  HEADER_OFFSET_VMAS_BASE,
  HEADER_OFFSET_WALK_CACHES_BASE,
  TLB_ENTRY_SHIFT,
  TLB_GENERATION,
  type Note,
} from "../core/layout.generated.js";
import { PROFILES, type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { GuestMmuError, usageError, type GuestMmuErrorCode } from "../errors.js";
import { ACCESS, type CheckedEvent, type MachineFacts } from "../invariants/checker.js";
import { Machine } from "../machine/machine.js";
import { type Automata, type Ground } from "./automata.js";
import { exploredModule, type ExploredBuild, type ExploredModule } from "./core.js";
import { type Finding } from "./ghosts.js";
import { type CallResult } from "./program.js";
import { Runner } from "./runner.js";
import { SMALL_MACHINE, type Judgement, type Scenario, type ScenarioActor } from "./scenario.js";
import { type MachineLayout } from "./trace.js";
import {
  checkActors,
  checkJudgement,
  checkScenario,
  checkedProgram,
  guarded,
  labelOf,
  userError,
} from "./user-code.js";

/** How a scenario is set up. */
export interface SetupOptions {
  readonly profile: ProfileName;
  readonly without: readonly RuleName[];
  readonly build: ExploredBuild;
}

const FINGERPRINT_DIGITS = 6;

/** Data and functions as text. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => {
    if (typeof one === "function") return String(one);
    return typeof one === "bigint" ? `${one}n` : one;
  });
}

/** Pages of a memslot whose first bytes are looked after. */
const DATA_PAGES = 4n;

/** One who acts, its program checked. */
export interface SetupActor extends ScenarioActor {
  /** What its program is called in messages. */
  readonly label: string;
}

/**
 * What a final check can come upon in a machine that a race has left in disorder. Other errors are about arguments, which
 * are the user's.
 */
const OF_THE_MACHINE: readonly GuestMmuErrorCode[] = [
  "CORE_TRAP",
  "MACHINE_BUSY",
  "ACCESS_FAULTED",
  "FRAMES_EXHAUSTED",
  "LIMIT_REACHED",
];

/** A scenario ready to be explored. */
export class Setup {
  readonly scenario: Scenario;
  readonly options: SetupOptions;
  readonly explored: ExploredModule;
  readonly machine: Machine;
  readonly actors: readonly SetupActor[];
  readonly ground: Ground;
  readonly facts: MachineFacts;
  /** Events of the set-up: from an empty machine to the start. */
  readonly events: readonly CheckedEvent[];
  readonly #prepared: unknown;
  /** Text of the scenario: of its functions, its specification and the programs of its actors. */
  readonly #text: string;
  readonly #bytes: Uint8Array;
  readonly #start: Uint8Array;
  #quiet = false;

  /** Throws `USAGE` for a scenario that is not one, and for what its functions throw. */
  constructor(scenario: Scenario, options: SetupOptions) {
    checkScenario(scenario);
    const { name } = scenario;
    this.scenario = scenario;
    this.options = options;
    this.explored = exploredModule(options.build);
    const events: CheckedEvent[] = [];
    const host = scenario.machine?.vcpus ?? SMALL_MACHINE.vcpus;
    this.machine = guarded(name, "its machine", () =>
      Machine.create({
        ...SMALL_MACHINE,
        ...scenario.machine,
        profile: options.profile,
        rulesOff: options.without,
        module: options.build,
        labImports: {
          note: (kind, a, b) => {
            if (!this.#quiet) events.push(eventOf(kind, host, a, b));
          },
        },
      }),
    );
    // What drives the protocol step by step is in the lab build only.
    const place = options.build === "release" ? "its set-up (release build: no machine.lab)" : "its set-up";
    this.#prepared = guarded(name, place, () => scenario.setup(this.machine));
    if (this.#prepared instanceof Promise)
      throw usageError(`Scenario ${name}: its set-up is asynchronous.`, "Leave `async` and `await` out.");
    this.#quiet = true;
    const actors = guarded(name, "actors", () => scenario.actors(this.#prepared, this.machine));
    checkActors(name, actors, host + (scenario.machine?.hostThreads ?? SMALL_MACHINE.hostThreads));
    const exports = options.build === "lab" ? { ...ABI, ...LAB_ABI } : ABI;
    this.#text = textOf([scenario, actors]);
    this.actors = actors.map((actor) => ({
      ...actor,
      program: checkedProgram(name, actor, exports),
      label: labelOf(name, actor),
    }));
    this.events = events;

    const memory = this.machine.memory as WebAssembly.Memory;
    const bare = layoutOf(new DataView(memory.buffer));
    const runner = new Runner(this.explored, memory, bare.size, { ...ABI, ...LAB_ABI });
    this.#bytes = new Uint8Array(memory.buffer, 0, bare.size);
    this.#start = this.#bytes.slice();
    this.facts = {
      layout: bare,
      profile: options.profile,
      switches: PROFILES[options.profile].switches,
      rulesOff: options.without,
      generation: this.machine.memslots.generation,
      slots: this.machine.memslots.list().map(({ id, gpa, hva, length }) => ({
        id,
        baseGfn: gpa >> 12n,
        npages: length >> 12n,
        hva,
      })),
      balanced: scenario.balanced !== false,
    };
    const { sites } = this.explored;
    this.ground = {
      runner,
      base: runner.words.slice(0, bare.size >>> 2),
      ignored: wordsOfActors(bare, ACTOR_STATS, ACTOR_WALK),
      scratch: scratchWords(bare),
      data: this.#dataWords(),
      canonical: (own, isCell) => canonicalTlbs(own, isCell, bare, this.ground.base),
      internal: internalWords(bare),
      isAtomic: (site) => sites[site]?.atomic ?? true,
      watchedFrom: bare.pagesBase,
    };
  }

  /** The first 8 bytes of the pages behind the memslots, up to a few each: where the programs of scenarios read and write. */
  #dataWords(): readonly number[] {
    const { framesBase, frameCount } = this.facts.layout;
    const words = new Set<number>();
    for (const { hva, npages } of this.facts.slots) {
      for (let page = 0n; page < npages && page < DATA_PAGES; page++) {
        const pfn = this.machine.mm.mapping(hva + (page << 12n))?.pfn ?? frameCount;
        if (pfn >= frameCount) continue;
        const first = (framesBase + pfn * 4096) >>> 2;
        words.add(first).add(first + 1);
      }
    }
    return [...words];
  }

  /**
   * Hash of the scenario, for an execution with these `calls`: of its text, of the memory that its set-up leaves, and of the
   * calls that its actors make. So it is another one as well if a function has changed that the scenario only uses.
   */
  fingerprint(calls: readonly string[]): string {
    const hash = createHash("sha256").update(this.#text).update(this.#start);
    return hash.update(calls.join("\n")).digest("hex").slice(0, FINGERPRINT_DIGITS);
  }

  /** Puts the memory of the machine back as it was at the start. */
  restore(): void {
    this.#bytes.set(this.#start);
  }

  /** Brings the memory to a state of the automata. */
  enter(automata: Automata, state: Int32Array): void {
    const { words } = this.ground.runner;
    const n = this.actors.length;
    automata.cells.forEach((word, i) => (words[word] = state[2 * n + i]!));
    for (let a = 0; a < n; a++) {
      const { own } = automata.local[state[a]!]!;
      for (let i = 0; i < own.length; i += 2) words[own[i]!] = own[i + 1]!;
    }
  }

  #judgement(results: Readonly<Record<string, readonly CallResult[]>>): Judgement {
    const { scenario, machine } = this;
    if (!scenario.judge) return { outcome: "done" };
    let judgement: unknown;
    try {
      judgement = scenario.judge({ machine, setup: this.#prepared, results });
    } catch (error) {
      if (error instanceof GuestMmuError && OF_THE_MACHINE.includes(error.code)) throw error;
      throw userError(scenario.name, "judge", error);
    }
    checkJudgement(scenario.name, judgement);
    return judgement;
  }

  /** Judges the machine as it is now, every actor done; leaves the memory as at the start. */
  judge(results: readonly (readonly CallResult[])[]): { outcome: string; finding: Finding | null } {
    const { scenario, machine } = this;
    const named = Object.fromEntries(this.actors.map(({ name }, i) => [name, results[i]!]));
    try {
      const { outcome, objection } = this.#judgement(named);
      if (objection !== undefined) return { outcome, finding: { name: scenario.name, says: objection } };
      if (scenario.balanced === false) return { outcome, finding: null };
      machine.unloadGuest();
      const wrong = machine.mm.countImbalances();
      const says = `the books do not balance: ${wrong} counts differ from what the tables say`;
      return { outcome, finding: wrong === 0 ? null : { name: "balance", says } };
    } catch (error) {
      if (!(error instanceof GuestMmuError) || !OF_THE_MACHINE.includes(error.code)) throw error;
      return { outcome: "error", finding: { name: "ending", says: error.message.replace(/\.$/, "") } };
    } finally {
      this.restore();
    }
  }
}

/** An event as checkers see it. */
export function eventOf(kind: number, actor: number, a: bigint, b: bigint): CheckedEvent {
  return {
    kind: (kind & 0xff) as Note,
    actor,
    sub: (kind >>> 8) & 0xff,
    detail: (kind >>> 16) & 0xffff,
    a: BigInt.asUintN(64, a),
    b: BigInt.asUintN(64, b),
  };
}

/** An access as checkers see it. */
export function accessEvent(
  actor: number,
  address: number,
  size: number,
  atomic: boolean,
  write: boolean,
): CheckedEvent {
  const b = BigInt((size << 2) | (atomic ? 2 : 0) | (write ? 1 : 0));
  return { kind: ACCESS, actor, sub: 0, detail: 0, a: BigInt(address), b };
}

function layoutOf(view: DataView): MachineLayout {
  const word = (offset: number): number => view.getUint32(offset, true);
  return {
    actorsBase: word(HEADER_OFFSET_ACTORS_BASE),
    histogramsBase: word(HEADER_OFFSET_HISTOGRAMS_BASE),
    slotsBase: word(HEADER_OFFSET_SLOTS_BASE),
    vmasBase: word(HEADER_OFFSET_VMAS_BASE),
    filesBase: word(HEADER_OFFSET_FILES_BASE),
    tlbsBase: word(HEADER_OFFSET_TLBS_BASE),
    walkCachesBase: word(HEADER_OFFSET_WALK_CACHES_BASE),
    batchesBase: word(HEADER_OFFSET_BATCHES_BASE),
    pagesBase: word(HEADER_OFFSET_PAGES_BASE),
    framesBase: word(HEADER_OFFSET_FRAMES_BASE),
    frameCount: word(HEADER_OFFSET_FRAME_COUNT),
    vcpuCount: word(HEADER_OFFSET_VCPU_COUNT),
    hostCount: word(HEADER_OFFSET_HOST_COUNT),
    slotMax: word(HEADER_OFFSET_SLOT_MAX),
    filePages: word(HEADER_OFFSET_FILE_PAGES),
    tlbEntries: word(HEADER_OFFSET_TLB_ENTRIES),
    tlbLargeEntries: word(HEADER_OFFSET_TLB_LARGE_ENTRIES),
    size: word(HEADER_OFFSET_SIZE),
  };
}

/** True for words at offsets [from, to) of an actor's block. */
function wordsOfActors({ actorsBase, histogramsBase }: MachineLayout, from: number, to: number) {
  return (word: number): boolean => {
    const address = word * 4;
    if (address < actorsBase || address >= histogramsBase) return false;
    const offset = (address - actorsBase) % ACTOR_SIZE;
    return offset >= from && offset < to;
  };
}

/**
 * True for what an actor keeps of its last call and looks at no more: the record of its last walk, its last fault but for
 * its root, and where it looked last.
 */
function scratchWords(bare: MachineLayout): (word: number) => boolean {
  const walk = wordsOfActors(bare, ACTOR_WALK, ACTOR_POOL);
  // The maps of kvm_vcpu_map behind it live longer.
  const fault = wordsOfActors(bare, ACTOR_FAULT, ACTOR_MAPS);
  const root = wordsOfActors(bare, FAULT_ROOT, FAULT_ROOT + 4);
  const managed = wordsOfActors(bare, FAULT_MANAGED, FAULT_MANAGED + 4);
  return (word) => walk(word) || (fault(word) && !root(word) && !managed(word));
}

/**
 * The words of an actor with its TLB generations counted from the start again: they are compared with each other and with
 * nothing else, so that TLBs that have been emptied once and twice are the same. `own` holds word and value in turn.
 */
function canonicalTlbs(
  own: readonly number[],
  isCell: (word: number) => boolean,
  bare: MachineLayout,
  base: Int32Array,
): readonly number[] {
  const values = new Map<number, number>();
  for (let i = 0; i < own.length; i += 2) values.set(own[i]!, own[i + 1]!);
  const get = (word: number): number => values.get(word) ?? base[word]!;
  const set = (word: number, value: number): void => {
    if (value === base[word]) values.delete(word);
    else values.set(word, value);
  };
  const entries = bare.tlbEntries + bare.tlbLargeEntries;
  for (let v = 0; v < bare.vcpuCount; v++) {
    const block = bare.actorsBase + v * ACTOR_SIZE;
    const generation = (block + CPU_GENERATION) >>> 2;
    const kept = (block + CPU_KEPT_GENERATION) >>> 2;
    const invalidations = (block + CPU_INVALIDATIONS) >>> 2;
    if ([generation, kept, invalidations].some(isCell)) continue; // another actor looks at them
    set(invalidations, base[invalidations]!);
    const oldest = get(kept);
    const shift = oldest - base[kept]!;
    if (shift === 0) continue;
    set(kept, base[kept]!);
    set(generation, get(generation) - shift);
    for (let i = 0; i < entries; i++) {
      const entry = (bare.tlbsBase + ((v * entries + i) << TLB_ENTRY_SHIFT)) >>> 2;
      const made = entry + (TLB_GENERATION >>> 2);
      if (get(made) >= oldest) set(made, get(made) - shift);
      else for (let k = 0; k < 1 << (TLB_ENTRY_SHIFT - 2); k++) set(entry + k, 0);
    }
  }
  return [...values].sort(([a], [b]) => a - b).flat();
}

/** True for words inside a processor: its registers, its TLB and its caches of table addresses. */
function internalWords(bare: MachineLayout): (word: number) => boolean {
  const registers = wordsOfActors(bare, ACTOR_CPU, ACTOR_STATS);
  return (word) => (word * 4 >= bare.tlbsBase && word * 4 < bare.batchesBase) || registers(word);
}

// Two actors, one thread. The lab module tells of each access to a shared word before it happens; at one of them the
// second actor does all that it has to do, and then the first goes on. Repeated for every access there is.
import { LAB_IMPORTS, type HostMachine } from "./host-machine.js";

type Raw = Record<string, (...args: (number | bigint)[]) => number | bigint>;
type Imports = Partial<typeof LAB_IMPORTS> | { note: (kind: number) => void };

/** Accesses beyond twice those of an undisturbed run after which the second counts as waiting for the first. */
const PATIENCE = 100;
/** Times that the second may sleep before it counts as waiting for the first: a sleep lasts 2 ms (sync/wait.ts). */
const SLEEPS = 6;
const SLEEP_MS = 1.5;
/** Milliseconds after which the first counts as hanging. */
const HANG_MS = 2_000;
/** Milliseconds after which a whole race, all places together, counts as hanging. */
const RACE_MS = 30_000;

class Blocked extends Error {}

/** Exports of another thread's instance of the lab module, with imports of its own. */
export function labInstance(machine: HostMachine, imports: Imports): Raw {
  const env = { memory: machine.memory, ...LAB_IMPORTS, ...imports };
  const raw = new WebAssembly.Instance(machine.module, { env }).exports as unknown as Raw;
  raw["attach"]!();
  return raw;
}

/** What a hang must end in: a hook to be called at every access, which throws when it has taken too long. */
export function hangGuard(): () => void {
  const end = performance.now() + HANG_MS;
  return () => {
    if (performance.now() > end) throw new Error("hangs");
  };
}

export interface Race<M extends HostMachine, S> {
  /** A machine of the lab build with the hook; the same one every time. */
  machine: (onAccess: () => void) => M;
  /** Up to where the two meet; what it returns is handed to the others. */
  prepare: (machine: M) => S;
  /** The first actor's part; returns how it ended. */
  first: (machine: M, state: S) => number;
  /** The second actor's part, through an instance of its own. */
  second: (raw: Raw, state: S, machine: M) => void;
  /** What must hold afterwards. `place` says where the second acted. */
  check: (machine: M, state: S, ended: number, place: string) => void;
  /** Places to try; every access if left out. */
  places?: Iterable<number>;
}

function* everyAccess(): Generator<number> {
  for (let at = 0; ; at++) yield at;
}

/**
 * Lets the second act before every access of the first, each time on a new machine. Returns at how many places it did:
 * where it would have had to wait for the first, it acts later, hence at a place that is tried as well.
 */
export function atEveryAccess<M extends HostMachine, S>(race: Race<M, S>): number {
  let acted = 0;
  const patience = PATIENCE + 2 * undisturbed(race);
  const limit = performance.now() + RACE_MS;
  for (const at of race.places ?? everyAccess()) {
    if (performance.now() > limit) throw new Error(`not done with access ${at} after ${RACE_MS} ms`);
    const end = actAt(race, at, patience);
    if (end === "acted") acted++;
    else if (end === "over" && !race.places) break;
  }
  return acted;
}

/** Accesses that the second makes when nobody else acts. */
function undisturbed<M extends HostMachine, S>(race: Race<M, S>): number {
  let count = 0;
  const machine = race.machine(() => undefined);
  const state = race.prepare(machine);
  race.second(labInstance(machine, { order: () => void count++ }), state, machine);
  return count;
}

function actAt<M extends HostMachine, S>(
  race: Race<M, S>,
  at: number,
  patience: number,
): "acted" | "blocked" | "over" {
  let left = Infinity;
  let budget = Infinity;
  let sleeps = 0;
  let seen = Infinity;
  let reached = false;
  let guard: () => void = () => undefined;
  const machine: M = race.machine(() => {
    guard();
    if (left-- !== 0) return;
    reached = true;
    budget = patience;
    sleeps = 0;
    seen = performance.now();
    race.second(raw, state, machine);
  });
  const raw = labInstance(machine, {
    order: () => {
      const now = performance.now();
      if (now - seen > SLEEP_MS) sleeps++;
      seen = now;
      if (budget-- <= 0 || sleeps > SLEEPS) throw new Blocked();
      return undefined;
    },
  });
  const state = race.prepare(machine);
  const place = `second acts before access ${at} of the first`;
  left = at;
  guard = hangGuard();
  let ended: number;
  try {
    ended = race.first(machine, state);
  } catch (error) {
    if (error instanceof Blocked) return "blocked";
    throw new Error(`${place}: ${String(error)}, trap ${machine.trap}`, { cause: error });
  }
  left = Infinity;
  if (!reached) return "over";
  race.check(machine, state, ended, place);
  return "acted";
}

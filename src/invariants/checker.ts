/**
 * What a checker of the explorer is: a ghost state beside the machine, moved on by events, which objects when the machine
 * does what it must not. A state is plain data and never changed in place: the search keeps many of them, compares them
 * by their JSON text, and goes back to earlier ones. So it has to be canonical: equal states, equal text. Use arrays in a
 * fixed order, and records with small integers as keys (JavaScript keeps those sorted).
 */

import { type RuleName } from "../core/rules.js";
import { type Note } from "../core/layout.generated.js";
import { type MachineLayout } from "../explore/trace.js";

/** The kind of the event that tells of an access to a frame or a struct page; all others are a `Note`. */
export const ACCESS = 0;

/** Something that happened: an event of the core, or an access to memory (`ACCESS`). */
export interface CheckedEvent {
  /** `Note`, or ACCESS. */
  readonly kind: Note | typeof ACCESS;
  /** Index of the actor's block in the machine: vCPUs first. Hardware and devices have that of the vCPU or host thread they act for. */
  readonly actor: number;
  /** Bits 15:8 and 31:16 of the note (assembly/note.ts). */
  readonly sub: number;
  readonly detail: number;
  /** Arguments of the note. ACCESS: a is the address, b is size << 2 | atomic << 1 | write. */
  readonly a: bigint;
  readonly b: bigint;
}

/** A memslot at the start of the exploration. */
export interface SlotFacts {
  readonly id: number;
  readonly baseGfn: bigint;
  readonly npages: bigint;
  readonly hva: bigint;
}

/** What a checker may know of the machine besides events. Constant during an exploration. */
export interface MachineFacts {
  readonly layout: MachineLayout;
  /** For example "v6.13". */
  readonly profile: string;
  /** Names of `Switch` that the profile has on. */
  readonly switches: readonly string[];
  readonly rulesOff: readonly RuleName[];
  readonly slots: readonly SlotFacts[];
  /** Generation of these memslots: of what is published later, the events tell a higher one. */
  readonly generation: number;
  /** False if references may rightly be held when every actor is done. Default true. */
  readonly balanced?: boolean;
}

/** An objection: one sentence with the numbers that matter, no final full stop. */
export interface Objection {
  readonly objection: string;
}

export type Ghost = null | boolean | number | string | readonly Ghost[] | { readonly [key: string]: Ghost };

/** One invariant, or a few that share their state. */
export interface Checker<S extends Ghost = Ghost> {
  /** Stated positively, in kebab case: `no-use-after-free`. */
  readonly name: string;
  /** Numbers in docs/protocol.md: `["I4"]`. */
  readonly invariants: readonly string[];
  /** The invariant as a sentence that holds. */
  readonly says: string;
  /** Rules whose absence breaks it. */
  readonly brokenWithout: readonly RuleName[];
  /** Events that it listens to. With ACCESS it is told of every access to frames and struct pages. */
  readonly listens: readonly (Note | typeof ACCESS)[];
  /** State of an empty machine. The events of a scenario's set-up are fed to `step` before the exploration begins. */
  initial(facts: MachineFacts): S;
  /** State after the event: the same object if nothing changed, or an objection. */
  step(state: S, event: CheckedEvent, facts: MachineFacts): S | Objection;
  /** When every actor is done: null if all is well. */
  final?(state: S, facts: MachineFacts): Objection | null;
  /**
   * Keys of the parts of its state that an event reads or writes, for the partial-order reduction: events of different
   * actors with no key in common (or which both only read it) may be swapped. Left out: every event writes all of it.
   */
  touches?(
    event: CheckedEvent,
    facts: MachineFacts,
  ): readonly { readonly key: string; readonly write: boolean }[];
}

/** True if `step` or `final` objected. */
export function objects(result: unknown): result is Objection {
  return typeof result === "object" && result !== null && "objection" in result;
}

/**
 * What an actor does: a generator of calls into the core. It is given the result of each call and yields the next. It has
 * to be a function of those results alone: the explorer runs it again, from its beginning, whenever it has to know what
 * comes after a history of results, and it takes no time of its own in the schedule.
 */

import { GuestMmuError } from "../errors.js";
import { digestOf, mixHigh, mixLow } from "./tables.js";

/** A call of an export of the core. */
export interface Call {
  /** Name of the export. */
  readonly name: string;
  readonly args: readonly (number | bigint)[];
  /** For people: `vcpu0 writes 1 at gpa 0x10000`. */
  readonly text: string;
}

/** What an export returned; 0 for void. u32 and u64 are unsigned. */
export type CallResult = number | bigint;

/** The calls of one actor. */
export type Program = () => Generator<Call, void, CallResult>;

/** A program with its histories: each is the list of the results so far, known by a number. 0 is the empty one. */
export class Histories {
  readonly #program: Program;
  readonly #lists: (readonly CallResult[])[] = [[]];
  readonly #numbers = new Map<string, number>();
  readonly #next: (Call | null | undefined)[] = [];
  /** Of each, 64 bits of its results: they do not depend on the order in which histories were met. */
  readonly #digests: (readonly [low: number, high: number])[] = [[0, 0]];

  constructor(program: Program) {
    this.#program = program;
  }

  /** Results of a history, in order. */
  results(history: number): readonly CallResult[] {
    return this.#lists[history]!;
  }

  /** 64 bits of the results of a history, the same in every thread. */
  digest(history: number): readonly [low: number, high: number] {
    return this.#digests[history]!;
  }

  /** The history that is `history` and one more result. */
  extend(history: number, result: CallResult): number {
    const text = typeof result === "bigint" ? `${result}n` : `${result}`;
    const key = `${history} ${text}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#lists.push([...this.#lists[history]!, result]) - 1;
      const [low, high] = this.digest(history);
      const [resultLow, resultHigh] = digestOf(text);
      this.#digests.push([mixLow(low, resultLow), mixHigh(high, resultHigh)]);
      this.#numbers.set(key, number);
    }
    return number;
  }

  /** The call after a history, null if the program is over. */
  next(history: number): Call | null {
    const known = this.#next[history];
    if (known !== undefined) return known;
    const running = this.#program();
    let step = running.next();
    for (const result of this.#lists[history]!) {
      if (step.done) {
        throw new GuestMmuError("USAGE", {
          message: "The program of an actor ended earlier than it did before, with the same results.",
          hint: "A program may depend on nothing but the results of its calls.",
        });
      }
      step = running.next(result);
    }
    return (this.#next[history] = step.done ? null : step.value);
  }
}

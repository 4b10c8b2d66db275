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
  readonly #label: string;
  /** Of each, the one that it goes on from. */
  readonly #parents: number[] = [0];
  readonly #lists: (readonly CallResult[])[] = [[]];
  readonly #numbers = new Map<string, number>();
  readonly #next: (Call | null | undefined)[] = [];
  /** Of each, 64 bits of its results: they do not depend on the order in which histories were met. */
  readonly #digests: (readonly [low: number, high: number])[] = [[0, 0]];

  /** @param label what the program is called in messages */
  constructor(program: Program, label = "The program of an actor") {
    this.#program = program;
    this.#label = label;
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
      this.#parents.push(history);
      const [low, high] = this.digest(history);
      const [resultLow, resultHigh] = digestOf(text);
      this.#digests.push([mixLow(low, resultLow), mixHigh(high, resultHigh)]);
      this.#numbers.set(key, number);
    }
    return number;
  }

  /**
   * The call after a history, null if the program is over. Throws `USAGE` if the program says different things after the same
   * results: it is run several times for each history, and each run is compared with what it said before.
   */
  next(history: number): Call | null {
    const known = this.#next[history];
    if (known !== undefined) return known;
    const call = (this.#next[history] = this.#run(history));
    for (let run = 1; run < RUNS; run++) this.#compare(history, this.#run(history));
    return call;
  }

  #run(history: number): Call | null {
    const path: number[] = [];
    for (let at = history; at !== 0; at = this.#parents[at]!) path.push(at);
    const running = this.#program();
    let step = running.next();
    let before = 0;
    for (const at of path.reverse()) {
      this.#compare(before, step.done ? null : step.value);
      step = running.next(this.#lists[at]!.at(-1)!);
      before = at;
    }
    return step.done ? null : step.value;
  }

  #compare(history: number, call: Call | null): void {
    const known = this.#next[history];
    if (known === undefined || isSame(known, call)) return;
    const says = (one: Call | null): string => (one === null ? "nothing more" : `"${callInWords(one)}"`);
    throw new GuestMmuError("USAGE", {
      message:
        `${this.#label} is not the same each time: after the same ${this.#lists[history]!.length} results it does ` +
        `${says(known)}, and another time ${says(call)}.`,
      hint:
        "A program may depend on the results of its calls and on nothing else: no Math.random, no time, no variable outside " +
        "it that changes.",
    });
  }
}

/** Times that a program is run for each history: what differs from run to run may come out the same a few times. */
const RUNS = 8;

function isSame(one: Call | null, other: Call | null): boolean {
  if (one === null || other === null) return one === other;
  return (
    one.name === other.name &&
    one.args.length === other.args.length &&
    one.args.every((arg, i) => arg === other.args[i])
  );
}

/** A call as it is written: `vcpuLoad(0, 65536, 8, 1)`. */
export function callInWords({ name, args }: Call): string {
  return `${name}(${args.join(", ")})`;
}

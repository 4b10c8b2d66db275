/**
 * Several threads that search one scenario: one leads, the others help. All look into one table of visited states, so that
 * each state is explored by the one who was first to add it; who has nothing left to do is given a branch by somebody who
 * has: the part of his path that is nearest to the start, with the moves there that he has not tried yet (work is split, as
 * in Rao and Kumar 1987, "Parallel Depth First Search").
 *
 * The thread that leads begins alone, on a table of its own. When the search turns out to be a long one it invites others;
 * the first who comes makes it move the table to shared memory. Every thread learns the automata for itself. What they have
 * in common is which words are cells, and so the fingerprints of states (automata.ts). A word that proves to be shared ends
 * the pass for all.
 *
 * The memory that they share is a page of words, below, a mailbox for each, and the table. Only the one who leads
 * replaces the table by a larger one: it raises `Pause`, waits until nobody runs, posts the new memory, and lowers it.
 */

import { MessageChannel, receiveMessageOnPort, type MessagePort } from "node:worker_threads";
import { GuestMmuError, type GuestMmuErrorJson } from "../errors.js";
import { type Counts, type SearchLimits, type SearchResult } from "./result.js";
import { type LearnedStep } from "./acyclic.js";
import { Fingerprints } from "./tables.js";

/** Why a search is over. The first reason counts. */
export const enum Stop {
  /** It is not. */
  None = 0,
  /** Nobody has anything left to do. */
  Done = 1,
  /** A violation was found, and one is enough. */
  Found = 2,
  States = 3,
  Time = 4,
  /** Whoever started it wants it stopped. */
  Stopped = 5,
  /** A word proved to be shared: what was learned is void. */
  Reclassified = 6,
  /** A thread failed. */
  Failed = 7,
  Depth = 8,
}

/** Words that all share. */
const enum Word {
  Stop = 0,
  /** Threads that have a branch, or are being given one. At 0 the search is done. */
  Active = 1,
  /** Threads that wait for a branch. */
  Hungry = 2,
  /** 1: the table is being replaced. */
  Pause = 3,
  /** Times that the table was replaced. */
  Generation = 4,
  /** 1: somebody found the table full. */
  Full = 5,
  /** First word of the thread at place 0. */
  Threads = 32,
}

/** Words of one thread, on a line of its own. */
const enum Mine {
  Standing = 0,
  Mail = 1,
  /** States that it has added. */
  States = 2,
  Words = 32,
}

const enum Standing {
  /** Has not come yet. */
  Absent = 0,
  /** May look into the table. */
  Running = 1,
  /** Does not look into the table until it has looked at `Pause`. */
  Resting = 2,
  /** Has reported. */
  Gone = 3,
  /** Need not come any more. */
  Barred = 4,
  /** Died after it had come. */
  Dead = 5,
}

const enum Mail {
  None = 0,
  Wanted = 1,
  /** Somebody is writing into the mailbox. */
  Promised = 2,
  Delivered = 3,
}

/** Numbers of one row of a branch: the move that leads on (-1: none), and the first that is to be tried. */
export const ROW = 4;
/** Rows that a mailbox holds. Deeper branches are not given away. */
const ROWS_MAX = 8192;
/** What one waits at most before it looks again, in milliseconds: others may have died. */
const PATIENCE_MS = 20;
/** Of `look`s, how often the time and the progress are looked at: a power of two. */
const LOOKS_A_REPORT = 64;
const FIRST_SLOTS = 1 << 20;
/** Part of the slots of a shared table that may be taken before it is replaced. */
const LOAD_MAX = 0.75;
/** Part of them that may be taken right after. */
const LOAD_FRESH = 0.45;
/** Slots (128 MiB) from which on a table is only doubled: everybody waits while one is replaced, and memory is short. */
const LARGE_SLOTS = 2 ** 24;
const SLOTS_MAX = 2 ** 30;
/** States after which a search that goes on is worth the start of other threads. */
export const HELP_FROM = 250_000;

/** What a thread that is to help is given. It can be posted; `port` has to be transferred. */
export interface Invitation {
  readonly words: SharedArrayBuffer;
  readonly mailboxes: readonly SharedArrayBuffer[];
  /** From 1 on. */
  readonly place: number;
  readonly cells: readonly number[];
  /** Words that were touched, and by whom: `Automata.touchedWords`. */
  readonly touched: Int32Array;
  /** When time is up, in milliseconds since the epoch. */
  readonly deadline: number;
  readonly maxStates: number;
  readonly port: MessagePort;
}

/** Where helpers come from. */
export interface Helpers {
  /** Threads of one search, with the one that leads. */
  readonly most: number;
  /** States after which they are called. Default `HELP_FROM`. */
  readonly from?: number;
  /** Has each invitation answered by a thread that calls `assist` with it. Must not wait for them. */
  invite(invitations: readonly Invitation[]): void;
}

/** What a helper did. */
export interface Report {
  /** Null if it did not come so far. */
  readonly result:
    (Omit<SearchResult, "outcomes"> & { readonly outcomes: readonly [string, number][] }) | null;
  readonly cells: readonly number[];
  readonly touched: Int32Array;
  readonly learned: readonly LearnedStep[];
  readonly locals: readonly string[];
  readonly runs: number;
  readonly error: GuestMmuErrorJson | null;
}

/** Numbers of `Counts` that a thread tells the others. */
const REPORT = 5;

/** Part of a search to be done: see `ROW`. */
export type Branch = Int32Array;

/** What the one who leads looks at now and then. */
export interface LeadOptions {
  readonly limits: SearchLimits;
  readonly helpers: Helpers | null;
  readonly progress?: ((counts: Counts) => boolean) | undefined;
  /** What helpers have to know of the automata. */
  readonly knowledge: () => { readonly cells: readonly number[]; readonly touched: Int32Array };
}

/** A thread's part in a search: that of the one who leads, alone or not, or of one who helps. */
export class Crew {
  readonly table: Fingerprints;
  readonly #place: number;
  readonly #maxStates: number;
  /** Milliseconds of `performance.now()` of this thread. */
  readonly deadline: number;
  readonly #lead: LeadOptions | null;
  /** Null: alone. */
  #words: Int32Array | null = null;
  /** States, steps, ends and depth of each thread, for the eye. */
  #reports: Float64Array | null = null;
  #mailboxes: readonly Int32Array[] = [];
  #ports: readonly MessagePort[] = [];
  #generation = 0;
  #isShared = false;
  #looks = 0;
  /** Of the thread alone, why it is over. */
  #stopped = Stop.None;

  private constructor(place: number, maxStates: number, deadline: number, lead: LeadOptions | null) {
    this.#place = place;
    this.#maxStates = maxStates;
    this.deadline = deadline;
    this.#lead = lead;
    this.table = new Fingerprints(maxStates);
  }

  /** The thread that leads. */
  static lead(options: LeadOptions): Crew {
    const { maxStates, maxTime } = options.limits;
    return new Crew(0, maxStates, performance.now() + maxTime, options);
  }

  /** A thread that was invited; null if it comes too late. */
  static join(invitation: Invitation): Crew | null {
    const { words, mailboxes, place, deadline, maxStates, port } = invitation;
    const crew = new Crew(place, maxStates, deadline - performance.timeOrigin, null);
    crew.#bind(words, mailboxes, [port]);
    const came = Atomics.compareExchange(crew.#words!, crew.#mine(place), Standing.Absent, Standing.Resting);
    if (came === Standing.Absent) return crew;
    port.close();
    return null;
  }

  #bind(
    words: SharedArrayBuffer,
    mailboxes: readonly SharedArrayBuffer[],
    ports: readonly MessagePort[],
  ): void {
    const places = mailboxes.length;
    this.#words = new Int32Array(words, 0, Word.Threads + places * Mine.Words);
    this.#reports = new Float64Array(words, this.#words.byteLength);
    this.#mailboxes = mailboxes.map((memory) => new Int32Array(memory));
    this.#ports = ports;
  }

  #mine(place: number, word: Mine = Mine.Standing): number {
    return Word.Threads + place * Mine.Words + word;
  }

  /** Threads that have come, with this one. */
  get threads(): number {
    if (this.#words === null) return 1;
    return 1 + this.#others().filter((place) => this.#standing(place) !== Standing.Absent).length;
  }

  #others(): number[] {
    return this.#mailboxes.flatMap((_, place) => (place === this.#place ? [] : [place]));
  }

  #standing(place: number): Standing {
    return Atomics.load(this.#words!, this.#mine(place));
  }

  /** Why the search is over. */
  get stopped(): Stop {
    return this.#words === null ? this.#stopped : Atomics.load(this.#words, Word.Stop);
  }

  /** Ends the search for all, unless it is over already. */
  stop(reason: Stop): void {
    if (this.#words === null) {
      if (this.#stopped === Stop.None) this.#stopped = reason;
      return;
    }
    Atomics.compareExchange(this.#words, Word.Stop, Stop.None, reason);
    this.#wakeAll();
  }

  #wakeAll(): void {
    const words = this.#words!;
    Atomics.notify(words, Word.Pause);
    Atomics.notify(words, Word.Generation);
    for (let place = 0; place < this.#mailboxes.length; place++) {
      Atomics.notify(words, this.#mine(place));
      Atomics.notify(words, this.#mine(place, Mine.Mail));
    }
  }

  /** To be called every few hundred steps. True if the search is over. */
  look(counts: Counts): boolean {
    const words = this.#words;
    if (this.#lead !== null) {
      if ((++this.#looks & (LOOKS_A_REPORT - 1)) === 0) this.#duties(counts);
      if (words === null) {
        if (this.#stopped !== Stop.None) return true;
        if (counts.states >= (this.#lead.helpers?.from ?? HELP_FROM)) this.#invite();
        return false;
      }
    }
    this.#publish(counts);
    if (Atomics.load(words!, Word.Stop) !== Stop.None) return true;
    if (this.#lead === null) {
      if (Atomics.load(words!, Word.Pause) !== 0) this.#rest();
    } else if (!this.#isShared && Atomics.load(words!, Word.Hungry) > 0) this.#replace();
    this.#room();
    return Atomics.load(words!, Word.Stop) !== Stop.None;
  }

  #publish({ states, steps, ends, depth, frontier = 0 }: Counts): void {
    Atomics.store(this.#words!, this.#mine(this.#place, Mine.States), states);
    this.#reports!.set([states, steps, ends, depth, frontier], this.#place * REPORT);
  }

  /** States that all have added, a few hundred of each thread not yet counted. */
  #states(): number {
    let sum = 0;
    for (let place = 0; place < this.#mailboxes.length; place++) {
      sum += Atomics.load(this.#words!, this.#mine(place, Mine.States));
    }
    return sum;
  }

  /** Looks whether there may be more states, and whether the table has room for them. */
  #room(): void {
    const words = this.#words!;
    const states = this.#states();
    if (states >= this.#maxStates) return this.stop(Stop.States);
    if (!this.#isShared || states < this.table.slots * LOAD_MAX) return;
    if (this.#lead !== null) return this.#replace();
    const { slots } = this.table;
    Atomics.store(words, this.#mine(this.#place), Standing.Resting);
    Atomics.store(words, Word.Full, 1);
    Atomics.notify(words, this.#mine(0, Mine.Mail));
    while (this.table.slots === slots && Atomics.load(words, Word.Stop) === Stop.None) {
      Atomics.wait(words, Word.Generation, this.#generation, PATIENCE_MS);
      this.#takeTable();
    }
    this.#run();
  }

  /** Goes on, once the table is not being replaced. */
  #run(): void {
    const words = this.#words!;
    const mine = this.#mine(this.#place);
    while (true) {
      Atomics.store(words, mine, Standing.Running);
      if (Atomics.load(words, Word.Pause) === 0 || this.#lead !== null) break;
      Atomics.store(words, mine, Standing.Resting);
      Atomics.notify(words, mine);
      Atomics.wait(words, Word.Pause, 1, PATIENCE_MS);
    }
    this.#takeTable();
  }

  #rest(): void {
    const words = this.#words!;
    Atomics.store(words, this.#mine(this.#place), Standing.Resting);
    Atomics.notify(words, this.#mine(this.#place));
    this.#run();
  }

  /** Of a helper: takes the table that was posted last. */
  #takeTable(): void {
    if (this.#lead !== null) return;
    const generation = Atomics.load(this.#words!, Word.Generation);
    while (this.#generation < generation) {
      // Posted before the generation was raised.
      const message = receiveMessageOnPort(this.#ports[0]!) as { message: SharedArrayBuffer } | undefined;
      if (message === undefined) {
        if (this.stopped !== Stop.None) return;
        throw new Error("a table was announced and not posted");
      }
      this.table.attach(message.message);
      this.#generation++;
    }
  }

  // The one who leads.

  #duties(counts: Counts): void {
    if (performance.now() > this.deadline) this.stop(Stop.Time);
    else if (this.#lead!.progress?.(this.#words === null ? counts : this.#all(counts)))
      this.stop(Stop.Stopped);
  }

  #all(counts: Counts): Counts {
    let { states, steps, ends, depth, frontier = 0 } = counts;
    for (const place of this.#others()) {
      const [s, t, e, d, f] = this.#reports!.subarray(place * REPORT, (place + 1) * REPORT) as unknown as [
        number,
        number,
        number,
        number,
        number,
      ];
      states += s;
      steps += t;
      ends += e;
      depth = Math.max(depth, d);
      frontier += f;
    }
    return { states, steps, ends, depth, frontier };
  }

  #invite(): void {
    const { helpers, knowledge } = this.#lead!;
    if (helpers === null || helpers.most < 2) return;
    const places = helpers.most;
    const words = new SharedArrayBuffer((Word.Threads + places * Mine.Words) * 4 + places * REPORT * 8);
    const mailboxes = Array.from({ length: places }, () => new SharedArrayBuffer((1 + ROWS_MAX * ROW) * 4));
    const channels = Array.from({ length: places - 1 }, () => new MessageChannel());
    this.#bind(
      words,
      mailboxes,
      channels.map(({ port1 }) => port1),
    );
    for (const { port1 } of channels) port1.unref();
    Atomics.store(this.#words!, this.#mine(0), Standing.Running);
    Atomics.store(this.#words!, Word.Active, 1);
    const deadline = performance.timeOrigin + this.deadline;
    const maxStates = this.#maxStates;
    helpers.invite(
      channels.map(({ port2: port }, i) => ({
        words,
        mailboxes,
        place: i + 1,
        ...knowledge(),
        deadline,
        maxStates,
        port,
      })),
    );
  }

  /** Replaces the table by a larger one, or by a shared one, while nobody looks into it. */
  #replace(): void {
    const words = this.#words!;
    Atomics.store(words, Word.Pause, 1);
    for (const place of this.#others()) {
      while (this.#standing(place) === Standing.Running && this.stopped === Stop.None) {
        Atomics.wait(words, this.#mine(place), Standing.Running, PATIENCE_MS);
      }
    }
    const { slots: before } = this.table;
    let slots = this.#isShared ? before * (before < LARGE_SLOTS ? 4 : 2) : FIRST_SLOTS;
    while (this.#states() > slots * LOAD_FRESH) slots *= 2;
    if (slots > SLOTS_MAX) {
      throw new GuestMmuError("LIMIT_REACHED", {
        message: `More than ${Math.floor(SLOTS_MAX * LOAD_MAX)} states do not fit into the table of visited states.`,
        hint: "Set a lower --max-states, or give the scenario fewer actors or calls.",
      });
    }
    const memory = this.table.share(slots);
    this.#isShared = true;
    for (const port of this.#ports) port.postMessage(memory);
    Atomics.store(words, Word.Full, 0);
    Atomics.add(words, Word.Generation, 1);
    Atomics.store(words, Word.Pause, 0);
    Atomics.notify(words, Word.Generation);
    Atomics.notify(words, Word.Pause);
  }

  // Work.

  /** True if somebody waits for a branch and can be given one. */
  get wanted(): boolean {
    return (
      this.#words !== null &&
      Atomics.load(this.#words, Word.Hungry) > 0 &&
      (this.#isShared || this.#lead === null)
    );
  }

  /** Gives a branch of so many rows to somebody who waits. `write` fills it in. False if nobody can take it. */
  give(rows: number, write: (branch: Int32Array) => void): boolean {
    const words = this.#words!;
    if (rows > ROWS_MAX) return false;
    for (const place of this.#others()) {
      const mail = this.#mine(place, Mine.Mail);
      if (Atomics.compareExchange(words, mail, Mail.Wanted, Mail.Promised) !== Mail.Wanted) continue;
      Atomics.add(words, Word.Active, 1);
      Atomics.sub(words, Word.Hungry, 1);
      const mailbox = this.#mailboxes[place]!;
      mailbox[0] = rows;
      write(mailbox.subarray(1, 1 + rows * ROW));
      Atomics.store(words, mail, Mail.Delivered);
      Atomics.notify(words, mail);
      return true;
    }
    return false;
  }

  /** Of one who has nothing left to do: waits for a branch. Null: the search is over. */
  ask(counts: Counts): Branch | null {
    const words = this.#words;
    if (words === null) {
      this.stop(Stop.Done);
      return null;
    }
    return this.#await(counts, true);
  }

  /** As `ask`, of a helper who has just come. */
  begin(): Branch | null {
    return this.#await({ states: 0, steps: 0, ends: 0, depth: 0 }, false);
  }

  #await(counts: Counts, wasActive: boolean): Branch | null {
    const words = this.#words!;
    const mail = this.#mine(this.#place, Mine.Mail);
    this.#publish(counts);
    Atomics.store(words, this.#mine(this.#place), Standing.Resting);
    Atomics.notify(words, this.#mine(this.#place));
    Atomics.store(words, mail, Mail.Wanted);
    Atomics.add(words, Word.Hungry, 1);
    if (wasActive && Atomics.sub(words, Word.Active, 1) === 1) {
      // As for one thread, a search of exactly so many states has met the limit.
      this.stop(this.#states() >= this.#maxStates ? Stop.States : Stop.Done);
    }
    while (Atomics.load(words, Word.Stop) === Stop.None) {
      const standing = Atomics.load(words, mail) as Mail;
      if (standing === Mail.Delivered) {
        Atomics.store(words, mail, Mail.None);
        this.#run();
        const mailbox = this.#mailboxes[this.#place]!;
        return mailbox.slice(1, 1 + mailbox[0]! * ROW);
      }
      if (this.#lead !== null) {
        this.#duties(counts);
        if (Atomics.load(words, Word.Full) !== 0) this.#replace();
      }
      Atomics.wait(words, mail, standing, PATIENCE_MS);
    }
    return null;
  }

  // The end.

  /** Of a helper: the last thing that it does. */
  report(report: Report): void {
    const port = this.#ports[0]!;
    port.postMessage(report);
    Atomics.store(this.#words!, this.#mine(this.#place), Standing.Gone);
    Atomics.notify(this.#words!, this.#mine(this.#place));
    port.close();
  }

  /** Of the one who leads: waits for all who came, and says what they did. Throws `WORKER_DIED` if one died. */
  collect(): Report[] {
    const words = this.#words;
    if (words === null) return [];
    this.stop(Stop.Done);
    const reports: Report[] = [];
    for (const place of this.#others()) {
      const mine = this.#mine(place);
      Atomics.compareExchange(words, mine, Standing.Absent, Standing.Barred);
      let standing = this.#standing(place);
      while (standing === Standing.Running || standing === Standing.Resting) {
        Atomics.wait(words, mine, standing, PATIENCE_MS);
        standing = this.#standing(place);
      }
      if (standing === Standing.Dead) {
        throw new GuestMmuError("WORKER_DIED", {
          message: `Thread ${place + 1} of ${this.#mailboxes.length} that searched together died.`,
          hint: "Where memory ran out, set --max-states, or search with --max-workers 1.",
        });
      }
      if (standing !== Standing.Gone) continue;
      // Tables that it did not take any more come before it.
      let last: Report | null = null;
      for (;;) {
        const message = receiveMessageOnPort(this.#ports[place - 1]!) as { message: Report } | undefined;
        if (message === undefined) break;
        last = message.message;
      }
      if (last !== null) reports.push(last);
    }
    this.#close();
    return reports;
  }

  /** Of the one who leads: nobody needs to go on. */
  dismiss(): void {
    if (this.#words === null) return;
    this.stop(Stop.Failed);
    for (const place of this.#others()) {
      Atomics.compareExchange(this.#words, this.#mine(place), Standing.Absent, Standing.Barred);
    }
    this.#close();
  }

  #close(): void {
    for (const port of this.#ports) port.close();
  }
}

/** Tells the one who leads that the thread of an invitation will not come, or has died. Never waits. */
export function lost({ words, place }: Pick<Invitation, "words" | "place">): void {
  const view = new Int32Array(words);
  const mine = Word.Threads + place * Mine.Words + Mine.Standing;
  if (Atomics.compareExchange(view, mine, Standing.Absent, Standing.Barred) === Standing.Absent) return;
  if (Atomics.load(view, mine) === Standing.Gone) return;
  Atomics.store(view, mine, Standing.Dead);
  Atomics.compareExchange(view, Word.Stop, Stop.None, Stop.Failed);
  Atomics.notify(view, mine);
}

/** Tells the threads of an invitation that the one who led them died. */
export function leaderless({ words }: Pick<Invitation, "words">): void {
  Atomics.compareExchange(new Int32Array(words), Word.Stop, Stop.None, Stop.Failed);
}

/** Threads that have come and wait for a branch. */
export function waiting({ words }: Pick<Invitation, "words">): number {
  return Atomics.load(new Int32Array(words), Word.Hungry);
}

/** The limit of a verdict that a reason stands for. */
export function limitOf(stop: Stop): SearchResult["limit"] {
  switch (stop) {
    case Stop.States:
      return "states";
    case Stop.Time:
      return "time";
    case Stop.Stopped:
      return "stopped";
    case Stop.Depth:
      return "depth";
    default:
      return null;
  }
}

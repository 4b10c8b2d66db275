/** What keeps everybody waiting at a deadlock, in words: who waits for what, and who has it or had it last. */

import { placeOf } from "./names.js";
import { noteName } from "./words.js";
import { type MachineLayout, type NoteEvent } from "./trace.js";

/** Bit 31 of a lock's word: somebody may sleep on it. The rest is the number of the owner's block and 1. */
const CONTENDED = 0x80000000;

/** How an actor stands at the end. */
export interface Standing {
  readonly name: string;
  /** Index of its block in the machine. */
  readonly index: number;
  /** Address that it sleeps on; undefined if it is done. */
  readonly waitsFor: number | undefined;
}

/** What was accessed on the way there. */
export interface Past {
  /** Index in the list of actors. */
  readonly actor: number;
  readonly address: number;
  readonly function: string;
  readonly writes: boolean;
  readonly notes: readonly NoteEvent[];
}

/** Pages that an actor has pinned or mapped and not given back: `page 1 pinned`. */
function heldBy(actor: number, past: readonly Past[]): string[] {
  const held = new Map<string, number>();
  const count = (what: string, by: number): void => {
    held.set(what, (held.get(what) ?? 0) + by);
  };
  for (const access of past) {
    if (access.actor !== actor) continue;
    for (const { kind, a } of access.notes) {
      const name = noteName(kind);
      if (name === "PinTaken" || name === "PinDropped")
        count(`page ${a} pinned`, name === "PinTaken" ? 1 : -1);
      if (name === "MapTaken" || name === "MapDropped")
        count(`page ${a} mapped by kvm_vcpu_map`, name === "MapTaken" ? 1 : -1);
    }
  }
  return [...held].flatMap(([what, times]) => (times > 0 ? [what] : []));
}

function ownerOf(
  layout: MachineLayout,
  address: number,
  value: number,
  actors: readonly Standing[],
): Standing | undefined {
  const place = placeOf(layout, address, 4);
  const block = place.word === "owner" ? (value & ~CONTENDED) - 1 : place.word === "reader" ? place.of : -1;
  return actors.find(({ index }) => index === block);
}

/** `host1 waits for kvm.mmu_lock, held by host0; ...`. `value`: what a word of memory is at the end. */
export function deadlockInWords(
  layout: MachineLayout,
  actors: readonly Standing[],
  past: readonly Past[],
  value: (address: number) => number,
): string {
  const sentences = actors.flatMap(({ name, waitsFor: address }) => {
    if (address === undefined) return [];
    const waits = `${name} waits for ${placeOf(layout, address, 4).name}`;
    const owner = ownerOf(layout, address, value(address), actors);
    if (owner !== undefined) {
      return [`${waits}, held by ${owner.name}${owner.waitsFor === undefined ? ", which is done" : ""}`];
    }
    const last = past.findLast((access) => access.writes && access.address === address);
    if (last === undefined) return [`${waits}, which nobody has written`];
    return [`${waits}, written last by ${actors[last.actor]!.name} in ${last.function}`];
  });
  const done = actors.flatMap(({ name, waitsFor }, actor) => {
    if (waitsFor !== undefined) return [];
    const held = heldBy(actor, past);
    return [`${name} is done${held.length > 0 ? ` and still has ${held.join(", ")}` : ""}`];
  });
  return [...sentences, ...done].join("; ");
}

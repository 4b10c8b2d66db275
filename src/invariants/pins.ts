/**
 * I6: a live mapping of kvm_vcpu_map keeps its page, and only a live one is used.
 *
 * Holds: a page with a live map is not freed; a map is used, and dropped, only between taken and dropped; at the end no map
 * is live and no pin outstanding. Where the profile pins, an actor has at least as many pins on a page as live maps that
 * began with one.
 * Broken by: kvm_vcpu_map that puts its page straight away; an unmap that mistakes a page for none and keeps the pin; a
 * hardware field that names the page after the unmap.
 * Does not see: the reference of a map without pins, other than by the free that its absence allows and by the count at the
 * end (refcount.ts). A map that began with no pin is taken for one of a remapped page without struct page.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type Objection } from "./checker.js";
import { framesOf } from "./decode.js";
import { drop, EMPTY, object, put, type Table } from "./ghost.js";
import { reads, writes } from "./touches.js";

export type Pins = {
  /** Key "vcpu pfn": maps that are live. */
  readonly maps: Table<number>;
  /** Key "actor pfn of the head": pins that are outstanding. */
  readonly pins: Table<number>;
};

function add(table: Table<number>, key: string, n: number): Table<number> {
  const sum = (table[key] ?? 0) + n;
  return sum === 0 ? drop(table, key) : put(table, key, sum);
}

function pinned(state: Pins, event: CheckedEvent, n: number): Pins | Objection {
  const key = `${event.actor} ${event.a}`;
  if (n < 0 && (state.pins[key] ?? 0) === 0) {
    return object(`actor ${event.actor} dropped a pin on pfn ${event.a} that it does not have`);
  }
  const pins = add(state.pins, key, n);
  const live = state.maps[key] ?? 0;
  const before = state.pins[key] ?? 0;
  if (n < 0 && live > 0 && before <= live) {
    return object(`actor ${event.actor} dropped its pin on pfn ${event.a} while its map is live`);
  }
  return { ...state, pins };
}

/** The events of a set-up are all told with one actor: a pin that a map began with is that of the map's vCPU. */
function handedOver(pins: Table<number>, { actor, detail, a }: CheckedEvent): Table<number> {
  const from = `${actor} ${a}`;
  return actor === detail || !pins[from] ? pins : add(add(pins, from, -1), `${detail} ${a}`, 1);
}

export const pins: Checker<Pins> = {
  name: "map-holds-its-page",
  invariants: ["I6"],
  says: "A page with a live map is held by it, and no map is used, nor left over, after its unmap.",
  brokenWithout: ["VcpuMapHoldsReference", "UnmapChecksPage"],
  listens: [Note.MapTaken, Note.MapUse, Note.MapDropped, Note.PinTaken, Note.PinDropped, Note.PageFree],
  initial: () => ({ maps: EMPTY, pins: EMPTY }),
  step(state, event) {
    const key = `${event.detail} ${event.a}`;
    switch (event.kind) {
      case Note.MapTaken:
        return { maps: add(state.maps, key, 1), pins: handedOver(state.pins, event) };
      case Note.MapUse:
        if (state.maps[key]) return state;
        return object(`vCPU ${event.detail} used a map of pfn ${event.a} that is not live`);
      case Note.MapDropped:
        if (!state.maps[key])
          return object(`vCPU ${event.detail} unmapped pfn ${event.a}, which it has not mapped`);
        return { ...state, maps: add(state.maps, key, -1) };
      case Note.PinTaken:
        return pinned(state, event, 1);
      case Note.PinDropped:
        return pinned(state, event, -1);
      default: {
        const { first, count } = framesOf(event);
        for (const name of Object.keys(state.maps)) {
          const [vcpu, pfn] = name.split(" ").map(Number) as [number, number];
          if (pfn >= first && pfn < first + count)
            return object(`pfn ${pfn} was freed while vCPU ${vcpu} has it mapped`);
        }
        return state;
      }
    }
  },
  touches(event) {
    if (event.kind !== Note.PageFree) return writes(`pfn ${event.a}`);
    const { first, count } = framesOf(event);
    return reads(...Array.from({ length: count }, (_, i) => `pfn ${first + i}`));
  },
  final(state) {
    const map = Object.keys(state.maps)[0]?.split(" ");
    if (map) return object(`vCPU ${map[0]} still has pfn ${map[1]} mapped`);
    const pin = Object.keys(state.pins)[0]?.split(" ");
    return pin ? object(`actor ${pin[0]} still has a pin on pfn ${pin[1]}`) : null;
  },
};

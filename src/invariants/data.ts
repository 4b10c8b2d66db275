/**
 * Data integrity, as far as places tell of it: all ways to a guest page lead to one backing page.
 *
 * Holds: a mapping of kvm_vcpu_map and a valid pfn cache access the page that the host maps at their address, if it maps one.
 * What is stored through one way is then what another reads.
 * Broken by: a map without a pin, a fork and a copy-on-write: the process goes on with the copy, the map with the
 * original. A map of a page-cache page, a truncate, and a fault that brings a new page.
 * Does not see: values. Two stores through legal ways in an order that no execution explains would need the value in the
 * use events. A page that the host does not map at the moment may come back as the same one: no objection. Accesses of
 * guests are covered by translations.ts and tlb.ts together.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hvaPageOf, useOf } from "./decode.js";
import { drop, EMPTY, hex, object, put, type Table } from "./ghost.js";
import { spanAt, type Spans } from "./spans.js";
import { nextHost } from "./tables.js";
import { reads, writes } from "./touches.js";

export type Backings = {
  readonly host: Spans;
  /** hva page of each way: keys "map vcpu pfn" and "gpc cache". */
  readonly ways: Table<number>;
};

function wayOf(event: CheckedEvent): string {
  const gpc = event.kind === Note.GpcUse || event.kind === Note.GpcValid || event.kind === Note.GpcInvalid;
  return gpc ? `gpc ${event.detail}` : `map ${event.detail} ${event.a}`;
}

function use(state: Backings, event: CheckedEvent): Backings | Objection {
  const way = wayOf(event);
  const page = state.ways[way];
  const host = page === undefined ? null : spanAt(state.host, page);
  const pfn = Number(event.a);
  if (host === null || host.pfn === pfn) return state;
  const who = event.kind === Note.GpcUse ? `pfn cache ${event.detail}` : `the map of vCPU ${event.detail}`;
  const how = useOf(event).write ? "wrote to" : "read";
  return object(
    `${who} ${how} pfn ${pfn} while the process has pfn ${host.pfn} at hva page ${hex(page!)}: two copies of one page`,
  );
}

export const data: Checker<Backings> = {
  name: "one-backing-page",
  invariants: ["I8b"],
  says: "Maps and pfn caches access the page that the process has at their address.",
  brokenWithout: ["VcpuMapPins"],
  listens: [
    Note.HostLeaf,
    Note.MapTaken,
    Note.MapUse,
    Note.MapDropped,
    Note.GpcValid,
    Note.GpcInvalid,
    Note.GpcUse,
  ],
  initial: () => ({ host: [], ways: EMPTY }),
  step(state, event, facts: MachineFacts) {
    switch (event.kind) {
      case Note.HostLeaf:
        return { ...state, host: nextHost(state.host, event, 0) };
      case Note.MapTaken: {
        const page = hvaPageOf(facts, Number(event.b));
        return page === undefined ? state : { ...state, ways: put(state.ways, wayOf(event), page) };
      }
      case Note.GpcValid:
        return { ...state, ways: put(state.ways, wayOf(event), Number(event.a >> 12n)) };
      case Note.MapDropped:
      case Note.GpcInvalid:
        return { ...state, ways: drop(state.ways, wayOf(event)) };
      default:
        return use(state, event);
    }
  },
  touches(event) {
    if (event.kind === Note.HostLeaf) return writes("host");
    const use = event.kind === Note.MapUse || event.kind === Note.GpcUse;
    return use ? reads(wayOf(event), "host") : writes(wayOf(event));
  },
};

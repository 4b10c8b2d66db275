/**
 * I19: locks are taken in one order, and nobody sleeps where he must not.
 *
 * Holds: a lock of docs/locking.md is wanted only while those held stand above it; locks that are not listed there are never
 * taken in both orders within an execution; no lock of a class is wanted by its holder; nobody sleeps, or wants a
 * sleeping lock, with a spin lock or rwlock held or in an RCU read section; nobody waits for an SRCU grace period, or wants
 * slots_lock, in an SRCU section; a vCPU in guest mode wants no lock.
 * Broken by: gup under mmu_lock; a notifier that takes slots_lock; synchronize_rcu in a read section.
 * Does not see: orders that only two executions together make circular, for locks that are not listed.
 */

import {
  KVM_DEFERRED_LOCK,
  KVM_MMU_LOCK,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ARCH_LOCK,
  KVM_SLOTS_LOCK,
  KVM_SRCU_EPOCH,
  LockKind,
  MM_BASE,
  MM_MMAP_LOCK,
  Note,
  PAGE_LOCK,
  ZONE_LOCK,
} from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { structPageOf } from "./decode.js";
import { drop, EMPTY, excluding, hex, including, object, put, type Numbers, type Table } from "./ghost.js";
import { reads, writes } from "./touches.js";

/** Outer to inner (docs/locking.md). */
const ORDER: readonly string[] = [
  "slots_lock",
  "slots_arch_lock",
  "mmap_lock",
  "mmu_lock",
  "mn_invalidate_lock",
  "a page-table lock",
  "the lock of deferred tables",
  "zone.lock",
];

const BY_ADDRESS: ReadonlyMap<number, string> = new Map([
  [KVM_SLOTS_LOCK, "slots_lock"],
  [KVM_SLOTS_ARCH_LOCK, "slots_arch_lock"],
  [MM_BASE + MM_MMAP_LOCK, "mmap_lock"],
  [KVM_MMU_LOCK, "mmu_lock"],
  [KVM_MN_INVALIDATE_LOCK, "mn_invalidate_lock"],
  [KVM_DEFERRED_LOCK, "the lock of deferred tables"],
  [ZONE_LOCK, "zone.lock"],
]);

/** Class of the lock at an address. */
function classOf(facts: MachineFacts, address: number): string {
  const known = BY_ADDRESS.get(address);
  if (known) return known;
  return structPageOf(facts, address)?.offset === PAGE_LOCK
    ? "a page-table lock"
    : `the lock at ${hex(address)}`;
}

export type Locks = {
  /** Locks of each actor in the order of taking: address and `LockKind`. */
  readonly held: Table<readonly (readonly [address: number, kind: number])[]>;
  /** Depth of read sections. */
  readonly rcu: Table<number>;
  readonly srcu: Table<number>;
  readonly inGuest: Numbers;
  /** Orders seen that the list does not decide: "outer > inner", ascending. */
  readonly edges: readonly string[];
};

function wanted(state: Locks, event: CheckedEvent, facts: MachineFacts): Locks | Objection {
  const { actor } = event;
  const name = classOf(facts, Number(event.a));
  const held = state.held[actor] ?? [];
  if (state.inGuest.includes(actor)) return object(`vCPU ${actor} wants ${name} in guest mode`);
  if (name === "slots_lock" && state.srcu[actor])
    return object(`actor ${actor} wants slots_lock in an SRCU section`);
  if (event.sub === LockKind.Sleeping) {
    const why = atomicContext(state, actor, facts);
    if (why) return object(`actor ${actor} wants ${name}, which sleeps, ${why}`);
  }
  let edges = state.edges;
  for (const [address] of held) {
    const outer = classOf(facts, address);
    if (outer === name)
      return object(
        `actor ${actor} wants ${name} while it holds ${address === Number(event.a) ? "it" : "another of its class"}`,
      );
    const [a, b] = [ORDER.indexOf(outer), ORDER.indexOf(name)];
    if (a >= 0 && b >= 0 && a > b)
      return object(`actor ${actor} wants ${name} while it holds ${outer}, which is inside it`);
    if (a >= 0 && b >= 0) continue;
    if (reaches(edges, name, outer))
      return object(
        `actor ${actor} wants ${name} while it holds ${outer}: they were taken in the other order before`,
      );
    const edge = `${outer} > ${name}`;
    if (!edges.includes(edge)) edges = [...edges, edge].sort();
  }
  return edges === state.edges ? state : { ...state, edges };
}

/** True if the orders seen lead from `from` to `to`. */
function reaches(edges: readonly string[], from: string, to: string): boolean {
  const seen = new Set([from]);
  for (const at of seen) {
    if (at === to) return true;
    for (const edge of edges) {
      const [outer, inner] = edge.split(" > ") as [string, string];
      if (outer === at) seen.add(inner);
    }
    const rank = ORDER.indexOf(at);
    if (rank >= 0) for (const inner of ORDER.slice(rank + 1)) seen.add(inner);
  }
  return false;
}

/** Why the actor may not sleep; "" if it may. */
function atomicContext(state: Locks, actor: number, facts: MachineFacts): string {
  const spinning = (state.held[actor] ?? []).find(([, kind]) => kind !== LockKind.Sleeping);
  if (spinning) return `while it holds ${classOf(facts, spinning[0])}`;
  return state.rcu[actor] ? "in an RCU section" : "";
}

function section(depths: Table<number>, actor: number, by: number): Table<number> {
  const depth = (depths[actor] ?? 0) + by;
  return depth <= 0 ? drop(depths, actor) : put(depths, actor, depth);
}

export const locks: Checker<Locks> = {
  name: "locks-in-order",
  invariants: ["I19"],
  says: "Locks are taken in the documented order, and nobody sleeps with a spin lock or rwlock held.",
  brokenWithout: [],
  listens: [
    Note.LockWanted,
    Note.LockTaken,
    Note.LockDropped,
    Note.MaySleep,
    Note.ReadEnter,
    Note.ReadLeave,
    Note.GuestEnter,
    Note.GuestExit,
  ],
  initial: () => ({ held: EMPTY, rcu: EMPTY, srcu: EMPTY, inGuest: [], edges: [] }),
  step(state, event, facts) {
    const { actor } = event;
    const address = Number(event.a);
    switch (event.kind) {
      case Note.LockWanted:
        return wanted(state, event, facts);
      case Note.LockTaken:
        return {
          ...state,
          held: put(state.held, actor, [...(state.held[actor] ?? []), [address, event.sub]]),
        };
      case Note.LockDropped: {
        const held = state.held[actor] ?? [];
        const at = held.findLastIndex(([a]) => a === address);
        if (at < 0) return object(`actor ${actor} gave ${classOf(facts, address)} up without holding it`);
        const left = held.toSpliced(at, 1);
        return { ...state, held: left.length === 0 ? drop(state.held, actor) : put(state.held, actor, left) };
      }
      case Note.MaySleep: {
        const why = atomicContext(state, actor, facts);
        if (why) return object(`actor ${actor} may sleep ${why}`);
        if (address !== KVM_SRCU_EPOCH || !state.srcu[actor]) return state;
        return object(`actor ${actor} waits for an SRCU grace period in an SRCU section`);
      }
      case Note.GuestEnter:
        return { ...state, inGuest: including(state.inGuest, event.detail) };
      case Note.GuestExit:
        return { ...state, inGuest: excluding(state.inGuest, event.detail) };
      default: {
        const by = event.kind === Note.ReadEnter ? 1 : -1;
        if (event.a === 1n) return { ...state, rcu: section(state.rcu, actor, by) };
        return { ...state, srcu: section(state.srcu, actor, by) };
      }
    }
  },
  touches(event, facts) {
    if (event.kind === Note.GuestEnter || event.kind === Note.GuestExit)
      return writes(`actor ${event.detail}`);
    const own = writes(`actor ${event.actor}`);
    if (event.kind !== Note.LockWanted) return own;
    // Of locks that are listed nothing is remembered.
    const listed = ORDER.includes(classOf(facts, Number(event.a)));
    return [...own, ...(listed ? reads("edges") : writes("edges"))];
  },
  final(state, facts) {
    for (const [actor, held] of Object.entries(state.held)) {
      return object(`actor ${actor} still holds ${classOf(facts, held[0]![0])}`);
    }
    const reader = Object.keys(state.rcu)[0] ?? null;
    return reader === null ? null : object(`actor ${reader} is still in an RCU section`);
  },
};

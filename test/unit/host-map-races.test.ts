// What changes who a page belongs to, against lookups and faults, in every interleaving in which one actor acts at a
// single point of the other.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HostMachine, HostStatus, HUGE, PAGE, Rule } from "../host-machine.js";
import { atEveryAccess } from "../interleaving.js";
import { KvmMachine, Outcome, PROFILES, QUIET } from "../kvm-machine.js";

const { PTE_RW } = layout;
type Raw = HostMachine["raw"];
const u32 = (value: number | bigint): number => Number(value) >>> 0;

describe("the lookup without a lock against the split of a large page", () => {
  /** A large page that small entries map already: the split changes no entry. */
  function prepare(m: HostMachine): { at: bigint; hva: bigint } {
    const hva = m.map(HUGE, { shift: 21 });
    m.touch(hva, HUGE);
    m.dontneed(hva + 511n * PAGE, PAGE);
    return { hva, at: hva + 500n * PAGE };
  }
  const race = (without: number[], places?: Iterable<number>): [wrong: number, acted: number] => {
    let wrong = 0;
    const acted = atEveryAccess({
      machine: (onAccess) => new HostMachine({ build: "lab", hosts: 3, frames: 1536, without, onAccess }),
      prepare,
      first: (m, { at }) => u32(m.raw["hostGupFast"]!(1, at, 1)),
      second: (raw, { at }) => void raw["hostSplitPage"]!(2, at),
      check: (m, { hva, at }, pfn, place) => {
        const held = pfn ? m.refcount(m.u32("hostHead", pfn)) - m.mapcount(m.u32("hostHead", pfn)) : 1;
        if (held !== 1) wrong++;
        else {
          if (pfn) expect(pfn, place).toBe(m.pfnOf(at));
          if (pfn) m.put(pfn);
          expect(m.imbalance, place).toBe(0);
          m.unmap(hva, HUGE);
          expect(m.imbalance, place).toBe(0);
        }
      },
      ...(places ? { places } : {}),
    });
    return [wrong, acted];
  };

  test("what is returned is held", () => {
    const [wrong, acted] = race([]);
    expect(wrong).toBe(0);
    expect(acted).toBeGreaterThan(5);
  });

  test("without GupRechecksHead the reference is on another page", () => {
    expect(race([Rule.GupRechecksHead])[0]).toBeGreaterThan(0);
  });

  test("without GupRechecksPte alone, a split does no harm", () => {
    expect(race([Rule.GupRechecksPte])[0]).toBe(0);
  });

  test("at moments of the split: it fails, or the lookup finds the new head", () => {
    const results = new Set<string>();
    // The freeze comes behind 512 reads of entries and heads; the distribution writes three words a page.
    const places = [...Array(30).keys(), ...Array.from({ length: 60 }, (_, i) => 30 + i * 67)];
    const acted = atEveryAccess({
      machine: (onAccess) => new HostMachine({ build: "lab", hosts: 3, frames: 1536, onAccess }),
      prepare: (m) => ({ ...prepare(m), got: 0 }),
      first: (m, { at }) => m.u32("hostSplitPage", 1, at),
      second: (raw, state) => void (state.got = u32(raw["hostGupFast"]!(2, state.at, 1))),
      check: (m, { hva, at, got }, status, place) => {
        if (got) {
          expect(got, place).toBe(m.pfnOf(at));
          m.put(got);
        }
        results.add(`${status} ${got !== 0}`);
        expect(m.imbalance, place).toBe(0);
        m.unmap(hva, HUGE);
        expect(m.imbalance, place).toBe(0);
      },
      places,
    });
    expect(acted).toBeGreaterThan(40);
    expect([...results].sort()).toEqual([
      `${HostStatus.Ok} false`,
      `${HostStatus.Ok} true`,
      `${HostStatus.Busy} true`,
    ]);
  });
});

interface Page {
  readonly hva: bigint;
  readonly pfn: number;
  pins: number;
  child: number;
  got: number;
}

const machine = (onAccess: () => void): HostMachine => new HostMachine({ build: "lab", hosts: 3, onAccess });

/** Fills the actor's stack of frames, so that it does not take zone.lock for most of its part. */
function warm(m: HostMachine, actor: number): void {
  m.put(m.u32("hostAllocPage", actor), actor);
}

/** A page with 1 in it, and 1024 references more if it is to be pinned. */
function page(m: HostMachine, pins: number): Page {
  const hva = m.map(PAGE);
  m.store(hva, 1n);
  const pfn = m.pfnOf(hva);
  for (const actor of [1, 2]) warm(m, actor);
  for (let i = 0; i < pins; i++) m.raw["hostGetPage"]!(0, pfn);
  return { hva, pfn, pins, child: 0, got: 0 };
}

const fork = (raw: Raw, state: Page, actor: number): number => {
  state.child = u32((raw["hostFork"]!(actor, state.hva, PAGE) as bigint) & 0xffff_ffffn);
  return state.child;
};
const gupFast = (raw: Raw, state: Page, actor: number): number => {
  state.got = u32(raw["hostGupFast"]!(actor, state.hva, 1));
  return state.got;
};

/** Gives back what was taken, and finds the books in order. */
function settle(m: HostMachine, state: Page, place: string): void {
  if (state.got) m.put(state.got);
  for (let i = 0; i < state.pins; i++) m.put(state.pfn);
  expect(m.imbalance, place).toBe(0);
  expect(m.forkExit(state.child), place).toBe(HostStatus.Ok);
  expect(m.imbalance, place).toBe(0);
  m.unmap(state.hva, PAGE);
  expect(m.imbalance, place).toBe(0);
}

describe.each([
  ["a page that is not pinned", 0],
  ["a pinned page", 1024],
])("fork of %s against the lookup without a lock", (_name, pins) => {
  const check = (m: HostMachine, state: Page, _ended: number, place: string): void => {
    expect([0, state.pfn], place).toContain(state.got);
    expect(m.pte(state.hva) & PTE_RW, place).toBe(pins ? PTE_RW : 0n);
    expect(m.childPfn(state.child, state.hva) === state.pfn, place).toBe(pins === 0);
    m.store(state.hva, 2n);
    expect(m.pfnOf(state.hva) === state.pfn, place).toBe(pins !== 0);
    expect(m.frameWord(m.childPfn(state.child, state.hva)), place).toBe(1n);
    settle(m, state, place);
  };
  test("at every access of the lookup", () => {
    const first = (m: HostMachine, state: Page) => gupFast(m.raw, state, 1);
    const second = (raw: Raw, state: Page): void => void fork(raw, state, 2);
    expect(atEveryAccess({ machine, prepare: (m) => page(m, pins), first, second, check })).toBeGreaterThan(
      5,
    );
  });
  test("at every access of the fork", () => {
    const first = (m: HostMachine, state: Page) => fork(m.raw, state, 1);
    const second = (raw: Raw, state: Page): void => void gupFast(raw, state, 2);
    expect(atEveryAccess({ machine, prepare: (m) => page(m, pins), first, second, check })).toBeGreaterThan(
      10,
    );
  });
});

describe("a copy-on-write", () => {
  const forked = (m: HostMachine): Page => {
    const state = page(m, 0);
    state.child = m.fork(state.hva, PAGE);
    return state;
  };
  /** The child's side is whole, and both stores are in the parent's. */
  const check = (m: HostMachine, state: Page, _ended: number, place: string): void => {
    expect(m.childPfn(state.child, state.hva), place).toBe(state.pfn);
    expect(m.frameWord(state.pfn), place).toBe(1n);
    expect(m.load(state.hva), place).toBe(2n);
    if (state.got) expect(state.got, place).toBe(m.pfnOf(state.hva));
    settle(m, state, place);
  };

  test("a lookup for writing, without a lock, never gets the old page", () => {
    const acted = atEveryAccess({
      machine,
      prepare: forked,
      first: (m, state) => u32(m.raw["hostStore"]!(1, state.hva, 8, 2n)),
      second: (raw, state) => void gupFast(raw, state, 2),
      check,
    });
    expect(acted).toBeGreaterThan(20);
  });

  test("two that write to the page at once: one copy, both stores in it", () => {
    const acted = atEveryAccess({
      machine,
      prepare: forked,
      first: (m, state) => u32(m.raw["hostStore"]!(1, state.hva, 8, 2n)),
      second: (raw, state) => void raw["hostStore"]!(2, state.hva + 8n, 8, 3n),
      check: (m, state, ended, place) => {
        expect(m.load(state.hva + 8n), place).toBe(3n);
        check(m, state, ended, place);
      },
    });
    expect(acted).toBeGreaterThan(20);
  });

  test("a fork and another's store at any moment of a store: both stores are the parent's, none the child's", () => {
    const acted = atEveryAccess({
      machine,
      prepare: (m) => page(m, 0),
      first: (m, state) => u32(m.raw["hostStore"]!(1, state.hva, 8, 2n)),
      second: (raw, state) => {
        fork(raw, state, 2);
        state.got = Number(raw["hostLoad"]!(2, state.hva, 8));
        raw["hostStore"]!(2, state.hva + 8n, 8, 3n);
      },
      check: (m, state, _ended, place) => {
        expect([m.load(state.hva), m.load(state.hva + 8n)], place).toEqual([2n, 3n]);
        expect(m.frameWord(state.pfn), place).toBe(BigInt(state.got)); // what it was at the fork
        state.got = 0;
        settle(m, state, place);
      },
    });
    expect(acted).toBeGreaterThan(5);
  });

  test("the child exits at any moment of it: the page is copied or taken back, and nothing lost", () => {
    let reused = 0;
    const acted = atEveryAccess({
      machine,
      prepare: forked,
      first: (m, state) => u32(m.raw["hostStore"]!(1, state.hva, 8, 2n)),
      second: (raw, state) => void raw["hostForkExit"]!(2, state.child),
      check: (m, state, _ended, place) => {
        expect(m.load(state.hva), place).toBe(2n);
        reused += Number(m.pfnOf(state.hva) === state.pfn);
        expect(m.imbalance, place).toBe(0);
        m.unmap(state.hva, PAGE);
        expect(m.imbalance, place).toBe(0);
      },
    });
    expect(reused).toBeGreaterThan(0);
    expect(reused).toBeLessThan(acted);
  });

  test("the page goes away at any moment of it: a store to whatever is mapped then", () => {
    const acted = atEveryAccess({
      machine,
      prepare: forked,
      first: (m, state) => u32(m.raw["hostStore"]!(1, state.hva, 8, 2n)),
      second: (raw, state) => void raw["hostDontneed"]!(2, state.hva, PAGE),
      check: (m, state, ended, place) => {
        expect(ended, place).toBe(HostStatus.Ok);
        expect([0n, 2n], place).toContain(m.load(state.hva));
        expect(m.frameWord(state.pfn), place).toBe(1n);
        settle(m, state, place);
      },
    });
    expect(acted).toBeGreaterThan(20);
  });
});

describe.each(PROFILES)("a guest's fault against a fork, %s", (_name, profile) => {
  interface State {
    hva: bigint;
    child: number;
  }
  const prepare = (m: KvmMachine): State => {
    const hva = m.backed(2n);
    m.store(hva, 1n);
    for (const vcpu of [0, 1]) m.guestLoad(PAGE, 8, vcpu); // root and tables are there, the leaf is not
    for (const actor of [0, m.host]) warm(m, actor);
    return { hva, child: 0 };
  };
  const kvm = (onAccess: () => void) => new KvmMachine({ build: "lab", profile, hosts: 2, onAccess });
  const forkAs = (raw: Raw, state: State, actor: number): number => {
    state.child = u32((raw["hostFork"]!(actor, state.hva, PAGE) as bigint) & 0xffff_ffffn);
    return 0;
  };
  /** No leaf may write to what the child has, and what the guest wrote is the parent's. */
  const check = (m: KvmMachine, state: State, _ended: number, place: string): void => {
    const shared = m.childPfn(state.child, state.hva);
    const written = m.load(state.hva);
    expect(m.leaf(0n) === 0n || m.leafPfn(0n) === m.pfnOf(state.hva), place).toBe(true);
    if (m.pfnOf(state.hva) === shared) expect(m.leaf(0n) & layout.SPTE_W, place).toBe(0n);
    expect(m.guestStore(0n, 9n, 8, 1), place).toBe(Outcome.Ok);
    expect(m.frameWord(shared), place).not.toBe(9n);
    expect([m.load(state.hva), written], place).toEqual([9n, 2n]);
    expect(m.forkExit(state.child), place).toBe(HostStatus.Ok);
    expect(m.quiesce(), place).toEqual(QUIET);
  };
  const storeAs = (raw: Raw): number => u32(raw["vcpuStore"]!(0, 0n, 8, 2n));

  test("at every access of the fault", () => {
    const acted = atEveryAccess({
      machine: kvm,
      prepare,
      first: (m) => storeAs(m.raw),
      second: (raw, state, m) => void forkAs(raw, state, m.host),
      check,
    });
    expect(acted).toBeGreaterThan(30);
  });

  test("at every access of the fork", () => {
    const acted = atEveryAccess({
      machine: kvm,
      prepare,
      first: (m, state) => forkAs(m.raw, state, m.host),
      second: (raw) => void storeAs(raw),
      check,
    });
    expect(acted).toBeGreaterThan(10);
  });
});

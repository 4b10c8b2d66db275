// The checkers of TLBs, owed flushes and tables.
import { describe, expect, test } from "vitest";
import { KVM_MMU_LOCK } from "../../src/core/layout.generated.js";
import { flushLedger } from "../../src/invariants/flush-ledger.js";
import { tableLifetime } from "../../src/invariants/table-lifetime.js";
import { tlb } from "../../src/invariants/tlb.js";
import {
  GFN,
  HVA,
  access,
  address,
  alloc,
  any,
  fill,
  flushBegin,
  flushDone,
  free,
  guestUse,
  judge,
  link,
  readEnter,
  readLeave,
  rootInvalid,
  spte,
  start,
  started,
  stateAfter,
  tableAlloc,
  tableFree,
  tlbFlush,
  unlink,
  unlock,
  zap,
} from "./invariants-fixture.js";

const drop = unlock(KVM_MMU_LOCK);
const flush = [flushBegin(), flushDone()];

describe("tlb", () => {
  const cached = [spte(GFN, 7), fill(GFN, 7), guestUse(GFN, 7, true)];
  const text = "vCPU 0 wrote to pfn 7 at gva 0x100000 through a translation that is gone and was flushed";
  test("a stale entry may be used until the flush is done", () => {
    expect(
      judge(any(tlb), [
        ...cached,
        zap(GFN),
        guestUse(GFN, 7, true),
        flushBegin(),
        guestUse(GFN, 7, true),
        flushDone(),
        tlbFlush(),
      ]),
    ).toBe(null);
    expect(judge(any(tlb), [...cached, zap(GFN), ...flush, guestUse(GFN, 7, true)])).toBe(text);
  });
  test("a flush that began before the change does not cover it", () => {
    expect(judge(any(tlb), [...cached, flushBegin(), zap(GFN), flushDone(), guestUse(GFN, 7, true)])).toBe(
      null,
    );
  });
  test("an entry that a flush should have dropped stays out of use when its frame is changed again", () => {
    const again = [...cached, zap(GFN), ...flush, spte(GFN, 7), zap(GFN)];
    expect(judge(any(tlb), [...again, guestUse(GFN, 7, true)])).toBe(text);
    expect(judge(any(tlb), [...again, fill(GFN, 7), guestUse(GFN, 7, true)])).toBe(null);
  });
  test("a write through an entry whose leaf is read-only now", () => {
    const reduced = [...cached, spte(GFN, 7, false)];
    expect(judge(any(tlb), [...reduced, guestUse(GFN, 7, true)])).toBe(null);
    expect(judge(any(tlb), [...reduced, ...flush, guestUse(GFN, 7)])).toBe(null);
    expect(judge(any(tlb), [...reduced, ...flush, guestUse(GFN, 7, true)])).toBe(text);
  });
  test("a walk that read the entry before it was zapped", () => {
    expect(
      judge(any(tlb), [spte(GFN, 7), zap(GFN), flushBegin(), fill(GFN, 7), guestUse(GFN, 7), flushDone()]),
    ).toBe(null);
    expect(judge(any(tlb), [spte(GFN, 7), zap(GFN), ...flush, fill(GFN, 7), guestUse(GFN, 7)])).toContain(
      "vCPU 0 read pfn 7",
    );
  });
  test("nobody flushes for an obsolete root: its vCPUs have left", () => {
    expect(judge(any(tlb), [...cached, rootInvalid(), guestUse(GFN, 7, true)])).toBe(null);
    expect(judge(any(tlb), [...cached, rootInvalid(), zap(GFN), guestUse(GFN, 7, true)])).toBe(text);
  });
});

describe("ledger", () => {
  test("zap, flush, unlock", () => {
    const paid = [spte(GFN, 7), start(HVA), zap(GFN), ...flush, drop, started(HVA), free(7)];
    expect(judge(any(flushLedger), paid)).toBe(null);
    expect(stateAfter(any(flushLedger), paid)).toEqual(stateAfter(any(flushLedger), []));
  });
  test("mmu_lock given up, start returned, page freed with a flush owed", () => {
    const owed = [spte(GFN, 7), zap(GFN)];
    const why = "while a flush is owed for gfn 0x100 (pfn 7), changed by actor 2";
    expect(judge(any(flushLedger), [...owed, drop])).toBe(`actor 2 gave mmu_lock up ${why}`);
    expect(judge(any(flushLedger), [...owed, unlock(KVM_MMU_LOCK, 3), started(HVA, 1, 3)])).toBe(
      `start returned for hva pages 0x10000 to 0x10001 ${why}`,
    );
    expect(judge(any(flushLedger), [...owed, free(7)])).toBe(`pfn 7 was freed ${why}`);
    expect(judge(any(flushLedger), owed)).toContain("a flush is still owed");
  });
  test("a flush that began too early, or of somebody else", () => {
    expect(judge(any(flushLedger), [spte(GFN, 7), flushBegin(), zap(GFN), flushDone(), drop])).toContain(
      "gave mmu_lock up",
    );
    expect(judge(any(flushLedger), [spte(GFN, 7), zap(GFN), flushBegin(3), flushDone(3), drop])).toBe(null);
  });
  test("what adds rights owes nothing, what takes W does", () => {
    expect(judge(any(flushLedger), [spte(GFN, 7, false), spte(GFN, 7), drop])).toBe(null);
    expect(judge(any(flushLedger), [spte(GFN, 7), spte(GFN, 7, false), unlock(KVM_MMU_LOCK, 0)])).toContain(
      "actor 0 gave mmu_lock up",
    );
  });
  test("a huge leaf in the place of a table", () => {
    const replaced = [link(0x200, 21, 60), spte(0x200, 512, true, 21)];
    expect(judge(any(flushLedger), [...replaced, unlock(KVM_MMU_LOCK, 0)])).toContain(
      "owed for gfn 0x200 (pfn 60)",
    );
    expect(judge(any(flushLedger), [...replaced, tableFree(60)])).toContain("pfn 60 was freed");
    expect(judge(any(flushLedger), [...replaced, ...flush, unlock(KVM_MMU_LOCK, 0), tableFree(60)])).toBe(
      null,
    );
  });
  test("an obsolete root is taken apart without flushes", () => {
    expect(
      judge(any(flushLedger), [
        link(GFN, 21, 60),
        spte(GFN, 7),
        rootInvalid(),
        zap(GFN),
        unlink(GFN, 21),
        drop,
      ]),
    ).toBe(null);
  });
});

describe("tables", () => {
  const linked = [tableAlloc(60), link(GFN, 21, 60)];
  test("freed after the readers have left", () => {
    const waits = [...linked, readEnter("rcu", 1), unlink(GFN, 21), readLeave("rcu", 1), tableFree(60)];
    expect(judge(any(tableLifetime), waits)).toBe(null);
    expect(judge(any(tableLifetime), [...linked, unlink(GFN, 21), readEnter("rcu", 1), tableFree(60)])).toBe(
      null,
    );
  });
  test("freed under a reader; the inner of two sections does not end it", () => {
    const text = "table 60 was freed while actor 1 is in a read section that began before it was unlinked";
    expect(judge(any(tableLifetime), [...linked, readEnter("rcu", 1), unlink(GFN, 21), tableFree(60)])).toBe(
      text,
    );
    const nested = [
      readEnter("rcu", 1),
      readEnter("rcu", 1),
      unlink(GFN, 21),
      readLeave("rcu", 1),
      tableFree(60),
    ];
    expect(judge(any(tableLifetime), [...linked, ...nested])).toBe(text);
    expect(judge(any(tableLifetime), [...linked, readEnter("srcu", 1), unlink(GFN, 21), tableFree(60)])).toBe(
      null,
    );
  });
  test("a huge leaf unlinks the table below it", () => {
    expect(
      judge(any(tableLifetime), [
        link(0x200, 21, 60),
        readEnter("rcu"),
        spte(0x200, 512, true, 21),
        tableFree(60),
      ]),
    ).toContain("table 60");
  });
  test("an access to a freed table, until the frame has another use", () => {
    const walk = access(address(60, 16), false, true);
    expect(judge(any(tableLifetime), [...linked, walk, unlink(GFN, 21), tableFree(60), walk])).toBe(
      "actor 0 read address 0x13c010 in table 60, which was freed",
    );
    expect(judge(any(tableLifetime), [...linked, unlink(GFN, 21), tableFree(60), alloc(60), walk])).toBe(
      null,
    );
    expect(judge(any(tableLifetime), [tableAlloc(60), tableFree(60), tableAlloc(60), walk])).toBe(null);
  });
});

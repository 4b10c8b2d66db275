// The checkers of the retry protocol's words and of locks.
import { describe, expect, test } from "vitest";
import {
  KVM_MMU_LOCK,
  KVM_SLOTS_LOCK,
  KVM_SRCU_EPOCH,
  LockKind,
  MM_BASE,
  MM_MMAP_LOCK,
  Note,
  PAGE_LOCK,
  ZONE_LOCK,
} from "../../src/core/layout.generated.js";
import { locks } from "../../src/invariants/locks.js";
import { retryState } from "../../src/invariants/retry-state.js";
import {
  GFN,
  HVA,
  PAGES_BASE,
  active,
  any,
  end,
  enter,
  event,
  inProgress,
  judge,
  leave,
  lock,
  range,
  readEnter,
  readLeave,
  start,
  started,
  stateAfter,
  unlock,
  wanted,
} from "./invariants-fixture.js";

const drop = unlock(KVM_MMU_LOCK);

describe("retry state", () => {
  const opened = [start(HVA), active(1), inProgress(1), range(GFN, GFN + 1), drop, started(HVA)];
  const closed = [end(HVA), inProgress(0), drop, active(0)];
  test("one invalidation, one that meets no memslot, and two at a time", () => {
    expect(judge(any(retryState), [...opened, ...closed])).toBe(null);
    expect(stateAfter(any(retryState), [...opened, ...closed])).toEqual(stateAfter(any(retryState), []));
    expect(judge(any(retryState), [start(1), active(1), started(1), end(1), active(0)])).toBe(null);
    const second = [
      start(HVA + 1, 1, 3),
      active(2, 3),
      inProgress(2, 3),
      range(GFN, GFN + 2),
      unlock(KVM_MMU_LOCK, 3),
    ];
    const last = [started(HVA + 1, 1, 3), end(HVA + 1, 1, 3), inProgress(0, 3), active(0, 3)];
    expect(judge(any(retryState), [...opened, ...second, end(HVA), inProgress(1), active(1), ...last])).toBe(
      null,
    );
  });
  test("a split inside a window: the inner pair is counted for itself", () => {
    const inner = [start(HVA, 4), active(2), inProgress(2), range(GFN, GFN + 4), drop, started(HVA, 4)];
    const innerEnd = [end(HVA, 4), inProgress(1), drop, active(1)];
    expect(judge(any(retryState), [...opened, ...inner, ...innerEnd, ...closed])).toBe(null);
  });
  test("memslots that changed between start and end", () => {
    const none = [start(HVA), active(1), started(HVA), end(HVA)];
    expect(judge(any(retryState), [...none, inProgress(-1)])).toBe("mmu_invalidate_in_progress fell to -1");
    expect(judge(any(retryState), [...opened, end(HVA), active(0)])).toBe(
      "actor 2 has ended an invalidation and mmu_invalidate_in_progress is still raised for it",
    );
    const other = [start(1, 1, 3), active(2, 3), started(1, 1, 3), end(1, 1, 3)];
    expect(judge(any(retryState), [...opened, ...other, inProgress(0, 3)])).toBe(
      "actor 3 lowered mmu_invalidate_in_progress to 0 for an invalidation that had not raised it",
    );
  });
  test("mmu_lock given up with a range that lacks something", () => {
    const begun = [start(HVA, 2), active(1), inProgress(1)];
    expect(judge(any(retryState), [...begun, drop])).toContain(
      "gfns 0x100 to 0x102 are being invalidated and the range is empty",
    );
    expect(judge(any(retryState), [...begun, range(GFN, GFN + 1), drop])).toContain(
      "the range is 0x100 to 0x101",
    );
    const overwritten = [
      ...opened,
      start(HVA + 4, 1, 3),
      active(2, 3),
      inProgress(2, 3),
      range(GFN + 4, GFN + 5),
    ];
    expect(judge(any(retryState), [...overwritten, unlock(KVM_MMU_LOCK, 3)])).toContain(
      "the range is 0x104 to 0x105",
    );
  });
  test("raised outside of a start, ended twice, never ended", () => {
    expect(judge(any(retryState), [inProgress(1)])).toContain("outside of a start");
    expect(judge(any(retryState), [end(HVA)])).toContain("that it had not started");
    expect(judge(any(retryState), opened)).toContain("is still open or counted");
    expect(judge(any(retryState), [...opened, inProgress(3)])).toBe(
      "mmu_invalidate_in_progress is 3 while 1 invalidations have raised it",
    );
  });
});

describe("locks", () => {
  const MMAP = MM_BASE + MM_MMAP_LOCK;
  const mmap = lock(MMAP, LockKind.Sleeping);
  const mmu = lock(KVM_MMU_LOCK, LockKind.RwLock);
  const maySleep = (at = 0) => event(Note.MaySleep, at, 0, { actor: 2 });
  test("outer to inner", () => {
    const nested = [...mmap, ...mmu, ...lock(ZONE_LOCK), unlock(ZONE_LOCK), drop, unlock(MMAP), maySleep()];
    expect(judge(any(locks), nested)).toBe(null);
    expect(stateAfter(any(locks), nested)).toEqual(stateAfter(any(locks), []));
  });
  test("inner to outer", () => {
    expect(judge(any(locks), [...lock(ZONE_LOCK), wanted(KVM_MMU_LOCK)])).toBe(
      "actor 2 wants mmu_lock while it holds zone.lock, which is inside it",
    );
    expect(judge(any(locks), [...mmu, wanted(MMAP)])).toContain(
      "actor 2 wants mmap_lock while it holds mmu_lock",
    );
  });
  test("twice", () => {
    expect(judge(any(locks), [...mmu, wanted(KVM_MMU_LOCK)])).toContain("while it holds it");
    const ptl = (pfn: number) => PAGES_BASE + pfn * 64 + PAGE_LOCK;
    expect(judge(any(locks), [...lock(ptl(5)), wanted(ptl(6))])).toBe(
      "actor 2 wants a page-table lock while it holds another of its class",
    );
  });
  test("locks that are not listed are never taken in both orders", () => {
    const both = (a: number, b: number, actor: number) => [
      ...lock(a, LockKind.Spin, actor),
      ...lock(b, LockKind.Spin, actor),
      unlock(b, actor),
      unlock(a, actor),
    ];
    expect(judge(any(locks), [...both(0x9000, 0x9010, 0), ...both(0x9000, 0x9010, 1)])).toBe(null);
    expect(judge(any(locks), [...both(0x9000, 0x9010, 0), ...both(0x9010, 0x9000, 1)])).toContain(
      "in the other order before",
    );
    const round = [...both(0x9000, 0x9010, 0), ...both(0x9010, 0x9020, 1), ...both(0x9020, 0x9000, 2)];
    expect(judge(any(locks), round)).toContain("in the other order before");
    expect(judge(any(locks), [...both(KVM_MMU_LOCK, 0x9000, 0), ...both(0x9000, MMAP, 1)])).toContain(
      "in the other order before",
    );
  });
  test("sleeping", () => {
    expect(judge(any(locks), [...mmu, maySleep()])).toBe("actor 2 may sleep while it holds mmu_lock");
    expect(judge(any(locks), [...mmu, wanted(0x9000, LockKind.Sleeping)])).toContain(
      "which sleeps, while it holds mmu_lock",
    );
    expect(judge(any(locks), [readEnter("rcu", 2), maySleep()])).toBe("actor 2 may sleep in an RCU section");
    expect(judge(any(locks), [readEnter("srcu", 2), maySleep(), readLeave("srcu", 2)])).toBe(null);
    expect(judge(any(locks), [readEnter("srcu", 2), maySleep(KVM_SRCU_EPOCH)])).toContain(
      "waits for an SRCU grace period",
    );
    expect(judge(any(locks), [readEnter("srcu", 2), wanted(KVM_SLOTS_LOCK, LockKind.Sleeping)])).toContain(
      "wants slots_lock in an SRCU section",
    );
  });
  test("in guest mode, not held, left held", () => {
    expect(judge(any(locks), [enter(), wanted(KVM_MMU_LOCK, LockKind.RwLock, 0)])).toBe(
      "vCPU 0 wants mmu_lock in guest mode",
    );
    expect(judge(any(locks), [enter(), leave(), wanted(KVM_MMU_LOCK, LockKind.RwLock, 0)])).toBe(null);
    expect(judge(any(locks), [drop])).toBe("actor 2 gave mmu_lock up without holding it");
    expect(judge(any(locks), mmu)).toBe("actor 2 still holds mmu_lock");
  });
});

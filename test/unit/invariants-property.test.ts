// Histories of a small machine that keeps the protocol: two vCPUs, two host threads, four pages, maps and a pfn cache, with
// invalidations that others come between. No checker objects to any of them; to those of a machine that leaves a step out,
// the checker of that step does.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KVM_MMU_LOCK, LockKind } from "../../src/core/layout.generated.js";
import { type CheckedEvent } from "../../src/invariants/checker.js";
import { CHECKERS, checkerNamed, checkersFor } from "../../src/invariants/index.js";
import {
  GFN,
  HVA,
  FACTS,
  ROOT,
  access,
  active,
  address,
  alloc,
  any,
  dirty,
  end,
  enter,
  fill,
  flushBegin,
  flushDone,
  free,
  get,
  gpcInvalid,
  gpcUse,
  gpcValid,
  guestUse,
  hostClear,
  hostFlushed,
  hostLeaf,
  inProgress,
  judge,
  leave,
  lock,
  mapDropped,
  mapTaken,
  mapUse,
  pinDropped,
  pinTaken,
  putRef,
  range,
  readEnter,
  readLeave,
  rootLoaded,
  spte,
  start,
  started,
  tlbFlush,
  unlock,
  zap,
} from "./invariants-fixture.js";

const PAGES = 4;
const PIN = 1024;

/** What the machine leaves out. */
type Broken = "" | "flush" | "zap" | "retry" | "put" | "pin" | "gpc";

class Model {
  readonly events: CheckedEvent[] = [rootLoaded(ROOT, 0), rootLoaded(ROOT, 1), enter(0), enter(1)];
  private readonly host = new Map<number, number>();
  private readonly sptes = new Map<number, number>();
  private readonly tlbs = [new Map<number, number>(), new Map<number, number>()];
  private readonly counts = new Map<number, number>();
  private readonly maps = new Map<number, { pfn: number; page: number }>();
  private readonly windows = new Map<number, { first: number; n: number; cleared: boolean }>();
  private union: [number, number] = [0, 0];
  private gpcPage = -1;

  constructor(private readonly broken: Broken = "") {}

  private tell(...events: CheckedEvent[]): void {
    this.events.push(...events);
  }
  private open(page: number): boolean {
    return [...this.windows.values()].some((w) => page >= w.first && page < w.first + w.n);
  }
  private count(pfn: number, by: number, actor: number): void {
    const count = this.counts.get(pfn)! + by;
    this.counts.set(pfn, count);
    this.tell(by > 0 ? get(pfn, count, actor) : putRef(pfn, count, actor));
    if (count > 0) return;
    this.counts.delete(pfn);
    this.tell(free(pfn));
  }
  /** The page of the process, faulted in, with a reference for the caller. */
  private gup(page: number, actor: number, by = 1): number {
    const found = this.host.get(page);
    if (found !== undefined) {
      this.count(found, by, actor);
      return found;
    }
    let pfn = 7;
    while (this.counts.has(pfn)) pfn++;
    this.counts.set(pfn, 1);
    this.host.set(page, pfn);
    this.tell(alloc(pfn), access(address(pfn), true, false, actor), hostLeaf(HVA + page, pfn));
    this.count(pfn, by, actor);
    return pfn;
  }

  guest(vcpu: number, page: number, write: boolean): void {
    const tlb = this.tlbs[vcpu]!;
    let pfn = tlb.get(page);
    if (pfn === undefined) {
      if (!this.sptes.has(page)) {
        if (this.open(page) && this.broken !== "retry") return;
        this.fault(vcpu, page);
      }
      pfn = this.sptes.get(page)!;
      tlb.set(page, pfn);
      this.tell(fill(GFN + page, pfn, true, vcpu));
    }
    this.tell(access(address(pfn), write, false, vcpu), guestUse(GFN + page, pfn, write, vcpu));
  }
  private fault(vcpu: number, page: number): void {
    this.tell(leave(vcpu), readEnter("srcu", vcpu));
    const pfn = this.gup(page, vcpu);
    this.tell(
      ...lock(KVM_MMU_LOCK, LockKind.RwLock, vcpu),
      { ...spte(GFN + page, pfn), actor: vcpu },
      dirty(pfn),
    );
    this.sptes.set(page, pfn);
    if (this.broken !== "put") this.count(pfn, -1, vcpu);
    this.tell(unlock(KVM_MMU_LOCK, vcpu), readLeave("srcu", vcpu), enter(vcpu));
  }

  /** start, by host thread 2 or 3. */
  begin(actor: number, first: number, n: number): void {
    if (this.windows.has(actor)) return;
    const openNow = this.windows.size;
    this.tell(start(HVA + first, n, actor), active(openNow + 1, actor));
    if (this.gpcPage >= first && this.gpcPage < first + n && this.broken !== "gpc") {
      this.gpcPage = -1;
      this.tell(gpcInvalid());
    }
    this.tell(...lock(KVM_MMU_LOCK, LockKind.RwLock, actor), inProgress(openNow + 1, actor));
    const [a, b] = openNow === 0 ? [first, first + n] : this.union;
    this.union = [Math.min(a, first), Math.max(b, first + n)];
    this.tell(range(GFN + this.union[0], GFN + this.union[1]));
    let zapped = false;
    for (let page = first; page < first + n && this.broken !== "zap"; page++) {
      if (!this.sptes.delete(page)) continue;
      this.tell(zap(GFN + page, 12, ROOT, actor));
      zapped = true;
    }
    if (zapped && this.broken !== "flush") this.flush(actor);
    this.tell(unlock(KVM_MMU_LOCK, actor), started(HVA + first, n, actor));
    this.windows.set(actor, { first, n, cleared: false });
  }
  private flush(actor: number): void {
    this.tell(flushBegin(actor), leave(0), leave(1), flushDone(actor));
    for (const vcpu of [0, 1]) {
      this.tlbs[vcpu]!.clear();
      this.tell(tlbFlush(vcpu), enter(vcpu));
    }
  }
  /** PTEs are cleared and references fall. */
  clear(actor: number): void {
    const window = this.windows.get(actor);
    if (!window || window.cleared) return;
    window.cleared = true;
    for (let page = window.first; page < window.first + window.n; page++) {
      const pfn = this.host.get(page);
      if (pfn === undefined) continue;
      this.host.delete(page);
      this.tell(hostClear(HVA + page), hostFlushed(actor));
      this.count(pfn, -1, actor);
    }
  }
  finish(actor: number): void {
    const window = this.windows.get(actor);
    if (!window) return;
    this.windows.delete(actor);
    this.tell(end(HVA + window.first, window.n, actor), ...lock(KVM_MMU_LOCK, LockKind.RwLock, actor));
    this.tell(
      inProgress(this.windows.size, actor),
      unlock(KVM_MMU_LOCK, actor),
      active(this.windows.size, actor),
    );
  }

  map(vcpu: number, page: number): void {
    if (this.maps.has(vcpu)) return;
    const pfn = this.gup(page, vcpu, PIN);
    this.tell(pinTaken(pfn, vcpu), mapTaken(pfn, GFN + page, vcpu));
    if (this.broken === "pin") this.unpin(pfn, vcpu);
    this.maps.set(vcpu, { pfn, page });
  }
  useMap(vcpu: number, write: boolean): void {
    const map = this.maps.get(vcpu);
    if (!map || (this.host.get(map.page) ?? map.pfn) !== map.pfn) return;
    this.tell(access(address(map.pfn), write, false, vcpu), mapUse(map.pfn, write, vcpu));
  }
  unmap(vcpu: number): void {
    const map = this.maps.get(vcpu);
    if (!map) return;
    this.maps.delete(vcpu);
    this.tell(dirty(map.pfn), mapDropped(map.pfn, GFN + map.page, vcpu));
    if (this.broken !== "pin") this.unpin(map.pfn, vcpu);
  }
  private unpin(pfn: number, vcpu: number): void {
    this.tell(pinDropped(pfn, vcpu));
    this.count(pfn, -PIN, vcpu);
  }

  /** A use of the pfn cache, refreshed for `page` if need be: it waits while anything is open. */
  cache(page: number): void {
    if (this.gpcPage !== page) {
      if (this.windows.size > 0) return;
      const pfn = this.gup(page, 0);
      this.tell(...(this.gpcPage >= 0 ? [gpcInvalid()] : []), gpcValid(HVA + page, pfn), dirty(pfn));
      this.count(pfn, -1, 0);
      this.gpcPage = page;
    }
    const pfn = this.host.get(page);
    if (pfn !== undefined) this.tell(gpcUse(pfn));
  }

  end(): CheckedEvent[] {
    for (const actor of [2, 3]) {
      this.clear(actor);
      this.finish(actor);
    }
    for (const vcpu of [0, 1]) {
      this.unmap(vcpu);
      this.tell(leave(vcpu));
    }
    return this.events;
  }
}

const page = fc.nat({ max: PAGES - 1 });
const vcpu = fc.constantFrom(0, 1);
const host = fc.constantFrom(2, 3);
type Step = (m: Model) => void;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(vcpu, page, fc.boolean()).map(
      ([v, p, w]): Step =>
        (m) =>
          m.guest(v, p, w),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(host, page, fc.constantFrom(1, 2)).map(
      ([h, p, n]): Step =>
        (m) =>
          m.begin(h, Math.min(p, PAGES - n), n),
    ),
  },
  {
    weight: 2,
    arbitrary: host.map(
      (h): Step =>
        (m) =>
          m.clear(h),
    ),
  },
  {
    weight: 2,
    arbitrary: host.map(
      (h): Step =>
        (m) =>
          m.finish(h),
    ),
  },
  fc.tuple(vcpu, page).map(
    ([v, p]): Step =>
      (m) =>
        m.map(v, p),
  ),
  fc.tuple(vcpu, fc.boolean()).map(
    ([v, w]): Step =>
      (m) =>
        m.useMap(v, w),
  ),
  vcpu.map(
    (v): Step =>
      (m) =>
        m.unmap(v),
  ),
  page.map(
    (p): Step =>
      (m) =>
        m.cache(p),
  ),
);

describe("a machine that keeps the protocol", () => {
  for (const checker of CHECKERS) {
    test(`${checker.name} never objects`, () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
          const m = new Model();
          for (const s of steps) s(m);
          expect(judge(checker, m.end())).toBe(null);
        }),
        { numRuns: 150 },
      );
    });
  }
});

describe("a machine that leaves a step out", () => {
  const invalidate: Step[] = [(m) => m.begin(2, 0, 1), (m) => m.clear(2)];
  const access0: Step = (m) => m.guest(0, 0, true);
  const cases: readonly [Broken, string, readonly Step[], string][] = [
    ["flush", "flush-paid-before-unlock", [access0, ...invalidate], "gave mmu_lock up"],
    ["flush", "no-use-after-free", [access0, ...invalidate, access0], "which is free"],
    ["zap", "sptes-match-the-host", [access0, ...invalidate], "after start has returned"],
    ["retry", "sptes-match-the-host", [(m) => m.begin(2, 0, 1), access0], "after start has returned"],
    ["put", "references-balance", [access0], "account for 1"],
    ["pin", "map-holds-its-page", [(m) => m.map(0, 0)], "dropped its pin"],
    [
      "pin",
      "no-use-after-free",
      [(m) => m.map(0, 0), ...invalidate, (m) => m.useMap(0, true)],
      "which is free",
    ],
    [
      "gpc",
      "valid-cache-names-the-host-page",
      [(m) => m.cache(0), ...invalidate],
      "after start has returned",
    ],
  ];
  test.each(cases)("without %s: %s", (broken, name, steps, text) => {
    const m = new Model(broken);
    for (const s of steps) s(m);
    expect(judge(any(checkerNamed(name)), m.end())).toContain(text);
  });
});

describe("the list", () => {
  test("names are unique, texts are sentences, what is listened to is named once", () => {
    expect(new Set(CHECKERS.map((c) => c.name)).size).toBe(CHECKERS.length);
    for (const checker of CHECKERS) {
      expect(checker.says).toMatch(/^[A-Za-z].*\.$/);
      expect(checker.invariants.length).toBeGreaterThan(0);
      expect(new Set(checker.listens).size).toBe(checker.listens.length);
    }
  });
  test("a profile without pfn caches has no checker of them", () => {
    expect(checkersFor("v6.13")).toEqual(CHECKERS);
    expect(checkersFor("v5.4").map((c) => c.name)).not.toContain("valid-cache-names-the-host-page");
  });
  test("the empty machine is a state of every checker", () => {
    for (const checker of CHECKERS) expect(checker.final?.(checker.initial(FACTS), FACTS) ?? null).toBe(null);
  });
});

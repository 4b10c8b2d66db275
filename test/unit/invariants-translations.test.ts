// The checkers that compare the two MMUs: each passes what the protocol allows and says what broke it otherwise.
import { describe, expect, test } from "vitest";
import {
  Note,
  SPTE_MMU_WRITABLE,
  SPTE_R,
  SPTE_SHADOW_PRESENT,
  SPTE_W,
} from "../../src/core/layout.generated.js";
import { data } from "../../src/invariants/data.js";
import { gpc } from "../../src/invariants/gpc.js";
import { huge } from "../../src/invariants/huge.js";
import { memslots } from "../../src/invariants/memslots.js";
import { roots } from "../../src/invariants/roots.js";
import { spteTransitions } from "../../src/invariants/spte-transitions.js";
import { translations } from "../../src/invariants/translations.js";
import { writePermission } from "../../src/invariants/write-permission.js";
import {
  GFN,
  HVA,
  ROOT,
  any,
  end,
  enter,
  event,
  gpcInvalid,
  gpcUse,
  gpcValid,
  hostClear,
  hostLeaf,
  hostSplit,
  judge,
  leave,
  link,
  mapDropped,
  mapTaken,
  mapUse,
  rootInvalid,
  rootLoaded,
  spte,
  start,
  started,
  stateAfter,
  tableFree,
  zap,
} from "./invariants-fixture.js";

const mappedPage = [hostLeaf(HVA, 7), spte(GFN, 7)];
/** gfn 0x200 is congruent to pfn 512 and to its hva modulo 2 MiB. */
const BIG_GFN = 0x200;
const BIG_HVA = 0x20000;
const mappedHuge = [hostLeaf(BIG_HVA, 512, true, 21), spte(BIG_GFN, 512, true, 21)];
const invalidation = [start(HVA), zap(GFN), started(HVA), hostClear(HVA), end(HVA)];

describe("translations", () => {
  test("an invalidation in the right order, and a fault after it", () => {
    expect(judge(any(translations), [...mappedPage, ...invalidation, hostLeaf(HVA, 9), spte(GFN, 9)])).toBe(
      null,
    );
  });
  test("the state forgets what is gone", () => {
    expect(stateAfter(any(translations), [...mappedPage, ...invalidation])).toEqual(
      stateAfter(any(translations), []),
    );
  });
  test("a leaf installed after the invalidation names the old page", () => {
    expect(judge(any(translations), [hostLeaf(HVA, 7), ...invalidation, spte(GFN, 7)])).toBe(
      "gfn 0x100 is mapped to pfn 7 under root 50 while the host maps nothing there",
    );
    expect(
      judge(any(translations), [hostLeaf(HVA, 7), ...invalidation, hostLeaf(HVA, 9), spte(GFN, 7)]),
    ).toBe("gfn 0x100 is mapped to pfn 7 under root 50 while the host maps pfn 9 there");
  });
  test("a leaf in the open window", () => {
    const opened = [hostLeaf(HVA, 7), start(HVA), started(HVA)];
    const text = "gfn 0x100 is mapped to pfn 7 under root 50 after start has returned and before end";
    expect(judge(any(translations), [...opened, spte(GFN, 7)])).toBe(text);
    expect(judge(any(translations), [...mappedPage, start(HVA), started(HVA)])).toBe(text);
    expect(
      judge(any(translations), [
        hostLeaf(HVA, 7),
        start(HVA),
        spte(GFN, 7),
        zap(GFN),
        started(HVA),
        hostClear(HVA),
        end(HVA),
      ]),
    ).toBe(null);
  });
  test("a neighbour of the window may be mapped", () => {
    const neighbour = [hostLeaf(HVA + 1, 8), spte(GFN + 1, 8)];
    expect(judge(any(translations), [start(HVA), started(HVA), ...neighbour, end(HVA)])).toBe(null);
  });
  test("the host clears its PTE without a start", () => {
    expect(judge(any(translations), [...mappedPage, hostClear(HVA)])).toContain(
      "the host maps nothing there",
    );
  });
  test("two windows over one page: the first to end leaves it open", () => {
    const windows = [hostLeaf(HVA, 7), start(HVA, 4), started(HVA, 4), start(HVA), started(HVA), end(HVA)];
    expect(judge(any(translations), [...windows, spte(GFN, 7)])).toContain("before end");
  });
  test("an end without a call of it", () => {
    expect(judge(any(translations), [start(HVA), started(HVA)])).toContain("was never ended");
  });
  test("huge leaves compare page by page, also when split on either side", () => {
    expect(judge(any(translations), mappedHuge)).toBe(null);
    expect(judge(any(translations), [...mappedHuge, link(BIG_GFN, 21, 60)])).toBe(null);
    const split = [{ ...spte(BIG_GFN, 512, true, 21), sub: 1 }, link(BIG_GFN, 21, 60)];
    expect(stateAfter(any(translations), [...mappedHuge, ...split])).toEqual(
      stateAfter(any(translations), [...mappedHuge, link(BIG_GFN, 21, 60)]),
    );
    const hostToo = { ...hostLeaf(BIG_HVA, 512, true, 21), sub: 1 };
    expect(judge(any(huge), [...mappedHuge, ...split, hostToo])).toBe(null);
    expect(judge(any(huge), [...mappedHuge, hostToo])).toContain("by one of 4 KiB");
    const splitAndPunched = [
      hostLeaf(BIG_HVA, 512, true, 21),
      start(BIG_HVA, 512),
      started(BIG_HVA, 512),
      hostSplit(BIG_HVA, 61),
      hostClear(BIG_HVA + 3),
      end(BIG_HVA, 512),
      spte(BIG_GFN + 4, 516),
    ];
    expect(judge(any(translations), splitAndPunched)).toBe(null);
    expect(judge(any(translations), [...splitAndPunched, spte(BIG_GFN, 512, true, 21)])).toContain(
      "gfn 0x203 is mapped to pfn 515",
    );
  });
  test("a huge leaf over a table: what is taken out of the table afterwards leaves the huge leaf alone", () => {
    const over = [
      hostLeaf(BIG_HVA, 512, true, 21),
      spte(BIG_GFN, 512),
      spte(BIG_GFN, 512, true, 21),
      zap(BIG_GFN),
    ];
    expect(judge(any(translations), [...over, start(BIG_HVA), started(BIG_HVA)])).toContain(
      "gfn 0x200 is mapped to pfn 512",
    );
  });
});

describe("write permission", () => {
  test("a writable leaf over a read-only one", () => {
    expect(judge(any(writePermission), mappedPage)).toBe(null);
    expect(judge(any(writePermission), [hostLeaf(HVA, 7, false), spte(GFN, 7, false)])).toBe(null);
    expect(judge(any(writePermission), [hostLeaf(HVA, 7, false), spte(GFN, 7)])).toBe(
      "gfn 0x100 is writable under root 50 while the host maps pfn 7 there read-only",
    );
  });
  test("the host takes W: inside an invalidation, or not", () => {
    const protect = hostLeaf(HVA, 7, false);
    expect(
      judge(any(writePermission), [...mappedPage, start(HVA), zap(GFN), started(HVA), protect, end(HVA)]),
    ).toBe(null);
    expect(judge(any(writePermission), [...mappedPage, protect])).toContain("read-only");
  });
});

describe("huge leaves", () => {
  test("a huge leaf over a huge leaf", () => {
    expect(judge(any(huge), mappedHuge)).toBe(null);
  });
  test("a huge leaf over small ones", () => {
    expect(judge(any(huge), [hostLeaf(BIG_HVA, 512), spte(BIG_GFN, 512, true, 21)])).toBe(
      "gfn 0x200 is in a leaf of 2048 KiB under root 50 while the host maps it by one of 4 KiB",
    );
    expect(judge(any(huge), [...mappedHuge, hostSplit(BIG_HVA, 61)])).toContain("by one of 4 KiB");
    expect(judge(any(huge), [...mappedHuge, start(BIG_HVA, 512), hostSplit(BIG_HVA, 61)])).toBe(null);
  });
  test("a huge leaf that is not congruent, or leaves its memslot", () => {
    expect(judge(any(huge), [spte(BIG_GFN, 513, true, 21)])).toContain("which is not congruent to it");
    expect(judge(any(huge), [spte(0, 512, true, 21)])).toBe(
      "the 2 MiB leaf at gfn 0x0 reaches beyond its memslot",
    );
  });
  test("a huge leaf that was split is none any more", () => {
    expect(judge(any(huge), [...mappedHuge, link(BIG_GFN, 21, 60), hostSplit(BIG_HVA, 61)])).toBe(null);
  });
});

describe("transitions", () => {
  test("more rights in place, another page after a zap", () => {
    expect(judge(any(spteTransitions), [spte(GFN, 7, false), spte(GFN, 7), zap(GFN), spte(GFN, 9)])).toBe(
      null,
    );
  });
  test("another page without a zap", () => {
    expect(judge(any(spteTransitions), [spte(GFN, 7), spte(GFN, 9)])).toBe(
      "the leaf of gfn 0x100 went from pfn 7 to pfn 9 without a zap between",
    );
  });
  test("W without mmu_writable, mmu_writable without host_writable", () => {
    const raw = (bits: bigint) =>
      event(Note.SpteLeaf, BigInt(GFN) | (12n << 56n), SPTE_R | SPTE_SHADOW_PRESENT | bits, { detail: ROOT });
    expect(judge(any(spteTransitions), [raw(SPTE_W)])).toContain("is writable without mmu_writable");
    expect(judge(any(spteTransitions), [raw(SPTE_MMU_WRITABLE)])).toContain(
      "is mmu_writable without host_writable",
    );
  });
});

describe("roots", () => {
  test("leaves under an obsolete root only go", () => {
    expect(judge(any(roots), [spte(GFN, 7), rootInvalid(), zap(GFN), tableFree(ROOT), spte(GFN, 7)])).toBe(
      null,
    );
    expect(judge(any(roots), [rootInvalid(), spte(GFN, 7)])).toBe(
      "gfn 0x100 was installed under root 50, which is obsolete",
    );
  });
  test("a root freed under a vCPU", () => {
    expect(judge(any(roots), [rootLoaded(ROOT), enter(), leave(), rootLoaded(0), tableFree(ROOT)])).toBe(
      null,
    );
    expect(judge(any(roots), [rootLoaded(ROOT), enter(), tableFree(ROOT)])).toBe(
      "root 50 was freed while vCPU 0 runs on it",
    );
  });
});

describe("memslots", () => {
  const deleted = event(Note.SlotDeleted, GFN, 8, { actor: 3 });
  const published = event(Note.SlotsPublished, 2, 0, { actor: 3 });
  test("nothing of a deleted slot is left or comes", () => {
    expect(judge(any(memslots), [spte(GFN, 7), zap(GFN), gpcValid(HVA, 7), gpcInvalid(), deleted])).toBe(
      null,
    );
    expect(judge(any(memslots), [spte(GFN, 7), deleted])).toBe(
      "gfn 0x100 is mapped to pfn 7 under root 50 after its memslot was deleted",
    );
    expect(judge(any(memslots), [gpcValid(HVA + 1, 7), deleted])).toBe(
      "pfn cache 0 is valid for gfn 0x101 after its memslot was deleted",
    );
    expect(judge(any(memslots), [deleted, spte(GFN, 7)])).toBe(
      "gfn 0x100 was mapped to pfn 7 after its memslot was deleted",
    );
    expect(judge(any(memslots), [deleted, published, spte(GFN, 7)])).toBe(null);
  });
});

describe("pfn caches", () => {
  const valid = [hostLeaf(HVA, 7), gpcValid(HVA, 7)];
  test("invalidated before start returns, valid again after end", () => {
    const around = [
      start(HVA),
      gpcInvalid(),
      started(HVA),
      hostClear(HVA),
      end(HVA),
      hostLeaf(HVA, 9),
      gpcValid(HVA, 9),
    ];
    expect(judge(any(gpc), [...valid, gpcUse(7), ...around, gpcUse(9)])).toBe(null);
  });
  test("valid with what the host has no longer", () => {
    expect(judge(any(gpc), [...valid, hostClear(HVA)])).toContain(
      "while the host maps nothing at hva page 0x10000",
    );
    expect(judge(any(gpc), [hostLeaf(HVA, 9), gpcValid(HVA, 7)])).toContain("while the host maps pfn 9");
    expect(judge(any(gpc), [hostLeaf(HVA, 7, false), gpcValid(HVA, 7)])).toContain(
      "while the host maps it read-only",
    );
  });
  test("valid in an open window", () => {
    const text = "pfn cache 0 is valid for hva page 0x10000 after start has returned and before end";
    expect(judge(any(gpc), [hostLeaf(HVA, 7), start(HVA), started(HVA), gpcValid(HVA, 7)])).toBe(text);
    expect(judge(any(gpc), [...valid, start(HVA), started(HVA)])).toBe(text);
  });
  test("used while not valid, or with another pfn", () => {
    expect(judge(any(gpc), [...valid, gpcInvalid(), gpcUse(7)])).toBe(
      "pfn cache 0 was used with pfn 7 while it is not valid",
    );
    expect(judge(any(gpc), [...valid, gpcUse(8)])).toBe(
      "pfn cache 0 was used with pfn 8 while it is valid with pfn 7",
    );
  });
});

describe("one backing page", () => {
  test("a map that the process has left by a copy", () => {
    const mapped = [hostLeaf(HVA, 7), mapTaken(7, GFN), mapUse(7)];
    expect(
      judge(any(data), [...mapped, hostClear(HVA), mapUse(7), mapDropped(7, GFN), hostLeaf(HVA, 9)]),
    ).toBe(null);
    expect(judge(any(data), [...mapped, hostClear(HVA), hostLeaf(HVA, 9), mapUse(7)])).toBe(
      "the map of vCPU 0 wrote to pfn 7 while the process has pfn 9 at hva page 0x10000: two copies of one page",
    );
    expect(judge(any(data), [hostLeaf(HVA, 7), gpcValid(HVA, 7), hostLeaf(HVA, 9), gpcUse(7)])).toContain(
      "pfn cache 0 wrote",
    );
  });
});

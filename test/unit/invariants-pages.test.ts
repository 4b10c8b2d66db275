// The checkers of pages: life, references, pins, dirt.
import { describe, expect, test } from "vitest";
import { PAGE_FLAGS, PAGE_REFCOUNT, PAGE_STRUCT_SIZE } from "../../src/core/layout.generated.js";
import { hostDirty } from "../../src/invariants/host-dirty.js";
import { hostFlush } from "../../src/invariants/host-flush.js";
import { metadata } from "../../src/invariants/metadata.js";
import { pins } from "../../src/invariants/pins.js";
import { refcount } from "../../src/invariants/refcount.js";
import { useAfterFree } from "../../src/invariants/use-after-free.js";
import {
  GFN,
  HVA,
  PAGES_BASE,
  access,
  address,
  alloc,
  any,
  dirty,
  dma,
  fileAdd,
  fileRemove,
  fill,
  free,
  get,
  gpcUse,
  gpcValid,
  guestUse,
  hostClear,
  hostFlushed,
  hostLeaf,
  hostSplit,
  judge,
  mapDropped,
  mapTaken,
  mapUse,
  metaUse,
  pinDropped,
  pinTaken,
  putRef,
  tlbFlush,
} from "./invariants-fixture.js";

const structPage = (pfn: number, offset: number) => PAGES_BASE + pfn * PAGE_STRUCT_SIZE + offset;

describe("use after free", () => {
  test("the guest through its TLB", () => {
    const filled = [alloc(7), fill(GFN, 7), guestUse(GFN, 7, true)];
    expect(
      judge(any(useAfterFree), [...filled, tlbFlush(), free(7), alloc(7), fill(GFN, 7), guestUse(GFN, 7)]),
    ).toBe(null);
    expect(judge(any(useAfterFree), [...filled, free(7), guestUse(GFN, 7, true)])).toBe(
      "vCPU 0 wrote to pfn 7, which is free",
    );
    expect(judge(any(useAfterFree), [...filled, free(7), alloc(7), guestUse(GFN, 7)])).toBe(
      "vCPU 0 read pfn 7, which has been freed since and has a new owner",
    );
  });
  test("a map, a cache, a device", () => {
    const reused = [free(7), alloc(7)];
    expect(judge(any(useAfterFree), [alloc(7), mapTaken(7, GFN), mapUse(7), ...reused, mapUse(7)])).toContain(
      "the map of vCPU 0 wrote to pfn 7, which has been freed since",
    );
    expect(judge(any(useAfterFree), [alloc(7), gpcValid(HVA, 7), gpcUse(7), ...reused, gpcUse(7)])).toContain(
      "pfn cache 0 wrote",
    );
    expect(judge(any(useAfterFree), [alloc(7), pinTaken(7), dma(7), ...reused, dma(7)])).toContain(
      "the device of actor 0 wrote",
    );
    expect(
      judge(any(useAfterFree), [
        alloc(7),
        mapTaken(7, GFN),
        mapDropped(7, GFN),
        ...reused,
        mapTaken(7, GFN),
        mapUse(7),
      ]),
    ).toBe(null);
  });
  test("a block that a DAX file has lost to another; a page-cache page lives on", () => {
    const device = [fileAdd(7), mapTaken(7, GFN), fileRemove(7), mapUse(7)];
    expect(judge(any(useAfterFree), [alloc(7), ...device])).toBe(null);
    expect(judge(any(useAfterFree), [alloc(7), ...device, fileAdd(7), mapUse(7)])).toBe(
      "the map of vCPU 0 wrote to pfn 7, whose block belongs to another file since",
    );
  });
  test("an entry that was not dropped is kept; large ones are checked by the addresses", () => {
    const nonGlobal = { ...tlbFlush(), sub: 1 };
    const filled = [alloc(7), fill(GFN, 7), nonGlobal, free(7), alloc(7)];
    expect(judge(any(useAfterFree), [...filled, guestUse(GFN, 7)])).toContain("has been freed since");
    const large = { ...fill(GFN, 7), sub: 21 };
    expect(judge(any(useAfterFree), [alloc(7), large, free(7), guestUse(GFN, 7)])).toContain("which is free");
  });
  test("accesses to free frames", () => {
    const gone = [alloc(7), free(7)];
    expect(judge(any(useAfterFree), [...gone, access(address(7, 8), false, false, 1)])).toBe(
      "actor 1 read address 0x107008 in pfn 7, which is free",
    );
    expect(judge(any(useAfterFree), [...gone, access(address(8), true, false)])).toBe(null);
    expect(judge(any(useAfterFree), [...gone, alloc(7), access(address(7), true, false)])).toBe(null);
  });
  test("a block is freed frame by frame", () => {
    expect(
      judge(any(useAfterFree), [alloc(512, 1, 9), fill(GFN, 700), free(512, 9), guestUse(GFN, 700)]),
    ).toContain("pfn 700, which is free");
  });
});

describe("references", () => {
  const page = [alloc(7, 2), hostLeaf(HVA, 7), putRef(7, 1)];
  test("a page from allocation to free", () => {
    expect(
      judge(any(refcount), [...page, get(7, 2), putRef(7, 1), hostClear(HVA), putRef(7, 0), free(7)]),
    ).toBe(null);
  });
  test("a leak shows at the end", () => {
    expect(judge(any(refcount), [...page, get(7, 2)])).toBe(
      "pfn 7 ends with a count of 2 while host leaves and files account for 1",
    );
    expect(judge(any(refcount), [get(900, 2)])).toBe(
      "pfn 900 ends with a count of 2 while host leaves and files account for 1",
    );
    expect(judge(any(refcount), [get(900, 2), putRef(900, 1)])).toBe(null);
  });
  test("got or freed when free, below 0, freed with references or mapped", () => {
    const gone = [alloc(7), putRef(7, 0), free(7)];
    expect(judge(any(refcount), [...gone, get(7, 1)])).toBe(
      "actor 0 took a reference on pfn 7, which is free",
    );
    expect(judge(any(refcount), [...gone, free(7)])).toBe("pfn 7 was freed twice");
    expect(judge(any(refcount), [...gone, hostLeaf(HVA, 7)])).toBe("the host maps pfn 7, which is free");
    expect(judge(any(refcount), [...gone, alloc(7), get(7, 2)])).toBe(null);
    expect(judge(any(refcount), [alloc(7), putRef(7, -1)])).toBe("the count of pfn 7 fell to -1");
    expect(judge(any(refcount), [alloc(7), free(7)])).toBe("pfn 7 was freed with a count of 1");
    expect(judge(any(refcount), [...page, putRef(7, 0), free(7)])).toBe(
      "pfn 7 was freed while the host maps it",
    );
    expect(judge(any(refcount), [...page, alloc(7)])).toBe("pfn 7 was handed out with a count of 1");
  });
  test("a page of the page cache, in its file and out of it", () => {
    const cached = [alloc(7), fileAdd(7), get(7, 2), hostLeaf(HVA, 7)];
    expect(judge(any(refcount), cached)).toBe(null);
    expect(judge(any(refcount), [...cached, get(7, 3)])).toContain("account for 2");
    expect(
      judge(any(refcount), [...cached, hostClear(HVA), putRef(7, 1), fileRemove(7), putRef(7, 0), free(7)]),
    ).toBe(null);
    expect(judge(any(refcount), [...cached, get(7, 3), fileRemove(7)])).toContain("account for 2");
  });
  test("device memory, idle at 1 or at 0", () => {
    for (const idle of [0, 1]) {
      const used = [alloc(7, idle), fileAdd(7), get(7, idle + 1), hostLeaf(HVA, 7), get(7, idle + 2)];
      expect(judge(any(refcount), [...used, putRef(7, idle + 1)])).toBe(null);
      expect(judge(any(refcount), used)).toContain(`ends with a count of ${idle + 2}`);
    }
  });
  test("a page of 2 MiB mapped in one piece, in many, and split", () => {
    const big = [alloc(512, 1, 9), hostLeaf(HVA, 512, true, 21)];
    expect(judge(any(refcount), big)).toBe(null);
    expect(judge(any(refcount), [...big, get(512, 512), hostSplit(HVA, 60)])).toBe(null);
    expect(judge(any(refcount), [...big, hostSplit(HVA, 60)])).toContain("account for 512");
    const frames = Array.from({ length: 512 }, (_, i) => get(512 + 511 - i, 1));
    expect(judge(any(refcount), [...big, get(512, 512), hostSplit(HVA, 60), putRef(512, 0), ...frames])).toBe(
      null,
    );
  });
  test("a remapped pfn: its leaf holds no reference", () => {
    const special = (1n << 9n) | hostLeaf(HVA, 7).b;
    expect(judge(any(refcount), [alloc(7), { ...hostLeaf(HVA, 7), b: special }])).toBe(null);
  });
});

describe("metadata", () => {
  test("struct page after the put", () => {
    expect(judge(any(metadata), [alloc(7), metaUse(7), dirty(7), free(7), alloc(7), metaUse(7)])).toBe(null);
    expect(judge(any(metadata), [alloc(7), free(7), metaUse(7)])).toBe(
      "actor 0 used struct page of pfn 7, which is free",
    );
    expect(judge(any(metadata), [alloc(7), free(7), dirty(7)])).toContain("marked dirty pfn 7");
  });
  test("atomic writes to free struct pages", () => {
    const flags = structPage(7, PAGE_FLAGS);
    const gone = [alloc(7), free(7)];
    expect(judge(any(metadata), [...gone, access(flags, true, true, 1)])).toBe(
      `actor 1 wrote to the struct page of pfn 7 at offset ${PAGE_FLAGS}; the page is free`,
    );
    const allowed = [
      access(flags, true, false), // the allocator's own word
      access(flags, false, true), // a lockless look at it
      access(structPage(7, PAGE_REFCOUNT), true, true), // try_get that fails
    ];
    expect(judge(any(metadata), [...gone, ...allowed])).toBe(null);
    expect(judge(any(metadata), [...gone, alloc(7), access(flags, true, true)])).toBe(null);
  });
});

describe("pins", () => {
  test("a map from pin to unpin", () => {
    const whole = [pinTaken(7), mapTaken(7, GFN), mapUse(7), mapDropped(7, GFN), pinDropped(7), free(7)];
    expect(judge(any(pins), whole)).toBe(null);
  });
  test("freed, used, dropped or left out of turn", () => {
    expect(judge(any(pins), [mapTaken(7, GFN), free(7)])).toBe("pfn 7 was freed while vCPU 0 has it mapped");
    expect(judge(any(pins), [mapTaken(7, GFN), mapDropped(7, GFN), mapUse(7)])).toBe(
      "vCPU 0 used a map of pfn 7 that is not live",
    );
    expect(judge(any(pins), [mapDropped(7, GFN)])).toBe("vCPU 0 unmapped pfn 7, which it has not mapped");
    expect(judge(any(pins), [mapTaken(7, GFN)])).toBe("vCPU 0 still has pfn 7 mapped");
    expect(judge(any(pins), [pinTaken(7)])).toBe("actor 0 still has a pin on pfn 7");
    expect(judge(any(pins), [pinDropped(7)])).toContain("that it does not have");
    expect(judge(any(pins), [pinTaken(7), mapTaken(7, GFN), pinDropped(7)])).toBe(
      "actor 0 dropped its pin on pfn 7 while its map is live",
    );
  });
  test("a pin of the set-up, which is told with another actor, is that of the map's vCPU", () => {
    const mapped = [pinTaken(7, 2), { ...mapTaken(7, GFN), actor: 2 }];
    expect(judge(any(pins), [...mapped, mapDropped(7, GFN), pinDropped(7)])).toBe(null);
    expect(judge(any(pins), [...mapped, mapDropped(7, GFN), pinDropped(7, 2)])).toContain(
      "that it does not have",
    );
  });
});

describe("dirt", () => {
  test("pages of a driver or a device are not KVM's to mark", () => {
    const gone = [
      guestUse(GFN, 7, true),
      mapTaken(7, GFN),
      mapUse(7),
      mapDropped(7, GFN),
      putRef(7, 0),
      free(7),
    ];
    expect(judge(any(hostDirty), [alloc(7), hostLeaf(HVA, 7), ...gone])).toContain("not marked dirty");
    for (const bit of [9n, 58n]) {
      const leaf = hostLeaf(HVA, 7);
      const foreign = [alloc(7), { ...leaf, b: leaf.b | (1n << bit) }, ...gone];
      expect(judge(any(hostDirty), foreign)).toBe(null);
      expect(judge(any(hostDirty), [...foreign, alloc(7), ...gone])).toContain("not marked dirty");
    }
  });
  test("marked before it leaves", () => {
    expect(judge(any(hostDirty), [alloc(7), dirty(7), guestUse(GFN, 7, true), free(7)])).toBe(null);
    expect(judge(any(hostDirty), [alloc(7), guestUse(GFN, 7, false), free(7)])).toBe(null);
    expect(judge(any(hostDirty), [alloc(7), guestUse(GFN, 7, true), free(7)])).toBe(
      "the host freed pfn 7, which was stored to and is not marked dirty",
    );
  });
  test("marked by whoever drops a map, before he puts what it held", () => {
    const used = [mapTaken(7, GFN), mapUse(7)];
    const text = "vCPU 0 unmapped pfn 7, which was stored to and is not marked dirty";
    expect(judge(any(hostDirty), [...used, mapDropped(7, GFN), putRef(7, 1)])).toBe(text);
    expect(judge(any(hostDirty), [...used, mapDropped(7, GFN), pinDropped(7)])).toBe(text);
    expect(judge(any(hostDirty), [...used, dirty(7), mapDropped(7, GFN), putRef(7, 1)])).toBe(null);
    expect(judge(any(hostDirty), [...used, mapDropped(7, GFN), dirty(7), putRef(7, 1)])).toBe(null);
  });
  test("another vCPU that only read through its map marks nothing", () => {
    const both = [mapTaken(7, GFN), mapTaken(7, GFN, 1), mapUse(7), mapUse(7, false, 1)];
    expect(judge(any(hostDirty), [...both, mapDropped(7, GFN, 1), putRef(7, 2, 1)])).toBe(null);
  });
  test("marks are on heads", () => {
    expect(
      judge(any(hostDirty), [alloc(512, 1, 9), guestUse(GFN, 700, true), dirty(512), free(512, 9)]),
    ).toBe(null);
    expect(judge(any(hostDirty), [alloc(512, 1, 9), guestUse(GFN, 700, true), free(512, 9)])).toContain(
      "pfn 512",
    );
  });
  test("a store to a page without its file", () => {
    expect(judge(any(hostDirty), [fileAdd(7), fileRemove(7), mapUse(7)])).toBe(
      "a store through a map to pfn 7 is lost: the page has no file any more",
    );
    expect(judge(any(hostDirty), [fileAdd(7), fileRemove(7), fileAdd(7), mapUse(7), dirty(7)])).toBe(null);
    expect(judge(any(hostDirty), [fileAdd(7), fileRemove(7), mapUse(7, false)])).toBe(null);
  });
});

describe("the host's own flush", () => {
  const mapped = [alloc(7), hostLeaf(HVA, 7)];

  test("comes before the put", () => {
    expect(judge(any(hostFlush), [...mapped, hostClear(HVA), hostFlushed(), putRef(7, 0, 2)])).toBe(null);
    expect(judge(any(hostFlush), [...mapped, hostClear(HVA), putRef(7, 0, 2)])).toBe(
      "actor 2 put pfn 7, which it has unmapped, before the host's TLBs were flushed",
    );
  });
  test("is not asked of others, of other pages, or of a change of rights", () => {
    expect(judge(any(hostFlush), [...mapped, hostClear(HVA), putRef(7, 1, 1)])).toBe(null);
    expect(judge(any(hostFlush), [...mapped, hostClear(HVA), putRef(8, 1, 2)])).toBe(null);
    expect(judge(any(hostFlush), [...mapped, hostLeaf(HVA, 7), putRef(7, 1, 2)])).toBe(null);
    expect(judge(any(hostFlush), [...mapped, hostSplit(HVA & ~511, 9), putRef(7, 1, 2)])).toBe(null);
  });
  test("is asked when another frame takes the place", () => {
    expect(judge(any(hostFlush), [...mapped, alloc(8), hostLeaf(HVA, 8), putRef(7, 0, 2)])).toContain(
      "put pfn 7",
    );
  });
});

describe("blocks of DAX files", () => {
  test("a lookup that is under way when the block comes to its next file is no reference of the file's", () => {
    const first = [alloc(7), fileAdd(7), hostLeaf(HVA, 7), get(7, 2), hostClear(HVA), putRef(7, 1)];
    const again = [...first, get(7, 2), fileRemove(7), fileAdd(7)];
    expect(judge(any(refcount), [...again, putRef(7, 1)])).toBe(null);
    expect(judge(any(refcount), again)).toBe(
      "pfn 7 ends with a count of 2 while host leaves and files account for 1",
    );
  });
});

import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { FIELDS } from "../../src/core/fields.generated.js";
import { nameOf, placeOf, rolesOf, type FrameRoles } from "../../src/explore/names.js";
import { accessInWords, noteInWords, noteName, pteInWords, spteInWords } from "../../src/explore/words.js";
import { LAYOUT, access, note, sampleTrace, traceOf } from "./report-race-sample.js";

const VCPU1 = LAYOUT.actorsBase + layout.ACTOR_SIZE;
const HOST0 = LAYOUT.actorsBase + 2 * layout.ACTOR_SIZE;
const ROW = LAYOUT.slotsBase + layout.SLOTS_HEAD_SIZE;
const COPY = 192;
// Files of the layout have 16 pages: 64 B and 4 B a page.
const FILE2 = LAYOUT.filesBase + layout.DEVICE_MAX * 32 + 128;
const PAGE17 = LAYOUT.pagesBase + 17 * 64;
const FRAME17 = LAYOUT.framesBase + 17 * 4096;

const roles: FrameRoles = (pfn) => {
  if (pfn === 17) return { kind: "tdp-table", shift: 12, base: 0x200000n };
  return pfn === 18 ? { kind: "host-table", shift: 21, base: 0x7f0000000000n } : undefined;
};

describe("names of addresses", () => {
  test.each([
    [layout.KVM_MMU_LOCK, "kvm.mmu_lock"],
    [layout.KVM_MMU_LOCK + 4, "kvm.mmu_lock.waiters"],
    [layout.KVM_MMU_LOCK + 8, "kvm.mmu_lock.drainers"],
    [layout.KVM_INVALIDATE_SEQ, "kvm.mmu_invalidate_seq"],
    [layout.KVM_INVALIDATE_IN_PROGRESS, "kvm.mmu_invalidate_in_progress"],
    [layout.KVM_INVALIDATE_RANGE_END, "kvm.mmu_invalidate_range_end"],
    [layout.KVM_MN_ACTIVE_COUNT, "kvm.mn_active_invalidate_count"],
    [layout.KVM_MN_INVALIDATE_LOCK, "kvm.mn_invalidate_lock"],
    [layout.KVM_SLOTS_ARCH_LOCK, "kvm.slots_arch_lock"],
    [layout.KVM_CURRENT_ROOT, "kvm.currentRoot"],
    [layout.KVM_BASE + 1000, "kvm+0x3e8"],
    [layout.KVM_GPC_LOCK, "kvm.gpc_lock"],
    [layout.KVM_GPC_LISTED, "kvm.gpcListed"],
    [layout.KVM_GPCS, "gpc[0].lock"],
    [layout.KVM_GPCS + 4, "gpc[0].lock.waiters"],
    [layout.KVM_GPCS + layout.GPC_VALID, "gpc[0].valid"],
    [layout.KVM_GPCS + (1 << layout.GPC_SHIFT) + layout.GPC_REFRESH_LOCK, "gpc[1].refreshLock"],
    [layout.GUEST_FRAME_CURSOR, "guest.frameCursor"],
    [layout.GUEST_SHARED_SPACE, "guest.space.cr3"],
    [layout.MM_BASE + layout.MM_MMAP_LOCK, "mm.mmap_lock"],
    [layout.MM_BASE + layout.MM_PGD, "mm.pgd"],
    [layout.MM_BASE + layout.MM_NOTIFIERS + 4, "mm.notifier1"],
    [layout.MM_BASE + layout.MM_TLB_FLUSHES, "mm.tlbFlushes"],
    [layout.MM_BASE + layout.MM_RMAP_LOCK + 4, "mm.rmap_lock.waiters"],
    [layout.DIO_BASE + (1 << layout.DIO_SHIFT), "dio[1].state"],
    [layout.DIO_BASE + layout.DIO_PFNS + 8, "dio[0].pfn[2]"],
    [layout.ZONE_LOCK, "zone.lock"],
    [layout.ZONE_FREE, "zone.free"],
    [layout.ZONE_LISTS + 8, "zone.list[2]"],
    [layout.HEADER_STOP, "header.stop"],
    [LAYOUT.actorsBase + layout.CONTROL_MODE, "vcpu0.mode"],
    [VCPU1 + layout.CONTROL_REQUESTS, "vcpu1.requests"],
    [VCPU1 + layout.GRACE_SRCU, "vcpu1.srcu"],
    [VCPU1 + layout.GRACE_MMU_READER, "kvm.mmu_lock.reader[vcpu1]"],
    [HOST0 + layout.GRACE_MMAP_READER, "mm.mmap_lock.reader[host0]"],
    [HOST0 + layout.GRACE_RMAP_READER, "mm.rmap_lock.reader[host0]"],
    [VCPU1 + layout.GRACE_INVALIDATE_READER, "invalidate_lock.reader[vcpu1]"],
    [VCPU1 + layout.GRACE_GPC_READER, "gpc.lock.reader[vcpu1]"],
    [VCPU1 + layout.ACTOR_MAPS + layout.VCPU_MAP_ADDRESS, "vcpu1.map[0].address"],
    [VCPU1 + layout.CPU_CR3, "vcpu1.cpu.cr3"],
    [VCPU1 + layout.CPU_CR3 + 4, "vcpu1.cpu.cr3+0x4"],
    [VCPU1 + layout.ACTOR_STATS + 8 * layout.Stat.Faults, "vcpu1.stats.Faults"],
    [VCPU1 + layout.ACTOR_STATS + 8 * 55, "vcpu1.stats.55"],
    [VCPU1 + layout.WALK_GPA, "vcpu1.walk.gpa"],
    [VCPU1 + layout.WALK_STEPS + 16, "vcpu1.walk.step[1].entry"],
    [HOST0 + layout.POOL_READY_COUNT, "host0.pool.readyCount"],
    [HOST0 + layout.POOL_READY + 12, "host0.pool.ready[3]"],
    [HOST0 + layout.POOL_TABLES + 4, "host0.pool.table[1]"],
    [HOST0 + layout.GATHER_PFNS + 4, "host0.gather[1]"],
    [VCPU1 + layout.ACTOR_FAULT, "vcpu1.fault.gpa"],
    [VCPU1 + layout.ACTOR_OWN_SPACE, "vcpu1.space.cr3"],
    [LAYOUT.histogramsBase + layout.HISTOGRAM_SIZE + 8, "vcpu1.histogram+0x8"],
    [LAYOUT.slotsBase, "slots[0].count"],
    [ROW + layout.SLOT_OFFSET_FLAGS, "slots[0].row[0].flags"],
    [ROW + COPY + 32 + layout.SLOT_OFFSET_HVA, "slots[1].row[1].hva"],
    [ROW + COPY + 64 + 16, "slots[1].byHva[1].maxEnd"],
    [LAYOUT.vmasBase + 2 * 32, "vma[2].start"],
    [LAYOUT.vmasBase + 2 * 32 + layout.VMA_OFFSET_FLAGS, "vma[2].flags"],
    [LAYOUT.filesBase + 32 + layout.DEVICE_STATE, "device[2].state"],
    [FILE2 + layout.FILE_INVALIDATE_LOCK + 8, "file[2].invalidate_lock.drainers"],
    [FILE2 + layout.FILE_INODE_LOCK, "file[2].inodeLock"],
    [FILE2 + layout.FILE_PFNS + 12, "file[2].page[3]"],
    [LAYOUT.tlbsBase + 3 * 32 + layout.TLB_TAG, "tlb0[3].tag"],
    [LAYOUT.tlbsBase + 4 * 32 + layout.TLB_ADDEND, "tlb0.large[0].addend"],
    [LAYOUT.tlbsBase + 5 * 32 + layout.TLB_GENERATION, "tlb1[0].generation"],
    [LAYOUT.walkCachesBase + 16, "walkcaches+0x10"],
    [LAYOUT.batchesBase + 16, "batches+0x10"],
    [PAGE17 + layout.PAGE_REFCOUNT, "page[17].refcount"],
    [PAGE17 + layout.PAGE_EPOCH, "page[17].epoch"],
    [FRAME17 + 0x10, "frame 17+0x10"],
    [8, "0x8"],
    [LAYOUT.size, "0x60000"],
  ])("%i is %s", (address, name) => {
    expect(nameOf(LAYOUT, address, 4)).toBe(name);
  });

  test("a frame as a whole, and entries of frames that hold tables", () => {
    expect(nameOf(LAYOUT, FRAME17, 4096)).toBe("frame 17");
    expect(nameOf(LAYOUT, FRAME17, 4096, roles)).toBe("frame 17");
    expect(nameOf(LAYOUT, FRAME17 + 0x10, 8, roles)).toBe("spte[gfn 0x202 4K]");
    expect(nameOf(LAYOUT, FRAME17 + 0x14, 4, roles)).toBe("spte[gfn 0x202 4K]+4");
    expect(nameOf(LAYOUT, FRAME17 + 4096 + 8, 8, roles)).toBe("pte[hva 0x7f0000200000 2M]");
    expect(placeOf(LAYOUT, FRAME17 + 4096, 8, roles)).toMatchObject({ word: "pte", of: 18 });
  });

  test("every field of the generated table is named, and no two of one structure alike", () => {
    for (const { fields, size } of Object.values(FIELDS)) {
      expect(new Set(fields.map(({ name }) => name)).size).toBe(fields.length);
      for (const field of fields) expect(field.offset + field.size).toBeLessThanOrEqual(size);
    }
    expect(FIELDS.Page.fields.find(({ name }) => name === "epoch")?.offset).toBe(layout.PAGE_EPOCH);
    expect(FIELDS.Fault.fields.find(({ name }) => name === "value")?.offset).toBe(layout.FAULT_OFFSET_VALUE);
  });

  test("tables of an execution are found by what changed in them, and those above by what leads to them", () => {
    const trace = sampleTrace();
    const of = rolesOf(trace);
    const address = (pfn: number, at: number): number => trace.layout.framesBase + pfn * 4096 + at;
    expect(nameOf(trace.layout, address(66, 0x80), 8, of)).toBe("spte[gfn 0x10 4K]");
    expect(nameOf(trace.layout, address(67, 0), 8, of)).toBe("spte[gfn 0x0 2M]");
    expect(nameOf(trace.layout, address(65, 0), 8, of)).toBe("spte[gfn 0x0 512G]");
    expect(nameOf(trace.layout, address(2, 0x80), 8, of)).toBe("pte[hva 0x7f0000010000 4K]");
    expect(nameOf(trace.layout, address(64, 0x7f0), 8, of)).toBe("pte[hva 0x7f0000000000 512G]");
    expect(of(3)).toBeUndefined();
  });
});

test("tables that nobody changes are found from mm.pgd down", () => {
  const frame = (pfn: number, at: number): number => LAYOUT.framesBase + pfn * 4096 + at;
  const entry = (at: number, value: bigint) => access(at, { size: 8, before: value });
  const walk = [
    access(layout.MM_BASE + layout.MM_PGD, { before: 20n }),
    entry(frame(20, 0x100), 0x15067n),
    entry(frame(21, 0), 0x16067n),
    entry(frame(22, 8), 0x17067n),
    entry(frame(23, 0x10), 0x3067n),
  ];
  const of = rolesOf(traceOf(walk));
  expect(nameOf(LAYOUT, frame(23, 0x10), 8, of)).toBe("pte[hva 0x100000202000 4K]");
  expect(of(3)).toBeUndefined();
  // A large page is no table.
  expect(rolesOf(traceOf([...walk.slice(0, 3), entry(frame(22, 8), 0x170e7n)]))(23)).toBeUndefined();
});

describe("values in words", () => {
  const { SPTE_R, SPTE_W, SPTE_X, SPTE_D, SPTE_PS, SPTE_SHADOW_PRESENT, SPTE_FROZEN } = layout;
  const leaf = (7n << 12n) | SPTE_R | SPTE_X | SPTE_SHADOW_PRESENT;
  test.each([
    [spteInWords(0n, 12), "none"],
    [spteInWords(SPTE_FROZEN, 12), "frozen"],
    [spteInWords(leaf | SPTE_W | SPTE_D, 12), "pfn 7 RWX D"],
    [spteInWords(leaf, 12), "pfn 7 R-X"],
    [spteInWords(leaf, 21), "table 7"],
    [spteInWords(leaf | SPTE_PS, 21), "pfn 7 R-X"],
    [spteInWords(4n, 12), "not present (0x4)"],
    [pteInWords(0n, 12), "none"],
    [pteInWords(0x7067n, 12), "pfn 7 RWX AD"],
    [pteInWords(0x8000000000007001n, 12), "pfn 7 R--"],
    [pteInWords(0x7067n, 21), "table 7"],
    [pteInWords(0x7166n, 12), "pfn 7 PROT_NONE"],
  ])("entry %s", (words, expected) => {
    expect(words).toBe(expected);
  });

  const MODE = LAYOUT.actorsBase + layout.CONTROL_MODE;
  const REQUESTS = LAYOUT.actorsBase + layout.CONTROL_REQUESTS;
  const { KVM_MMU_LOCK: LOCK, KVM_INVALIDATE_IN_PROGRESS: OPEN } = layout;
  const write = { kind: "modify" } as const;
  test.each([
    [access(OPEN, { ...write, before: 0n, after: 1n }), "kvm.mmu_invalidate_in_progress 0 -> 1"],
    [access(OPEN, { before: 2n }), "kvm.mmu_invalidate_in_progress = 2"],
    [
      access(layout.KVM_INVALIDATE_RANGE_START, { size: 8, before: 2n ** 64n - 1n }),
      "kvm.mmu_invalidate_range_start = empty",
    ],
    [access(PAGE17, { ...write, before: 1n, after: 0n }), "page[17].refcount 1 -> 0: the last reference"],
    [access(PAGE17, { ...write, before: 0n, after: 0xffffffffn }), "page[17].refcount 0 -> -1"],
    [
      access(PAGE17 + layout.PAGE_FLAGS, { ...write, before: 0n, after: 0x21n }),
      "page[17].flags + Buddy|Dirty",
    ],
    [access(MODE, { kind: "compare", before: 1n, after: 2n }), "vcpu0.mode InGuest -> ExitingGuest"],
    [access(MODE, { kind: "compare", before: 0n }), "vcpu0.mode = OutsideGuest (compare fails)"],
    [access(REQUESTS, { ...write, before: 0n, after: 1n }), "vcpu0.requests + TlbFlush"],
    [access(REQUESTS, { ...write, before: 5n, after: 4n }), "vcpu0.requests - TlbFlush"],
    [access(REQUESTS, { before: 0n }), "vcpu0.requests = none"],
    [access(LOCK, { kind: "compare", before: 0n, after: 1n }), "kvm.mmu_lock taken by vcpu0"],
    [access(LOCK, { ...write, before: 3n, after: 0n }), "kvm.mmu_lock released by host0"],
    [access(LOCK, { before: 0x80000001n }), "kvm.mmu_lock = vcpu0, contended"],
    [access(LOCK, { kind: "wait", before: 3n }), "sleeps while kvm.mmu_lock = host0"],
    [access(LOCK, { kind: "notify" }), "wakes sleepers on kvm.mmu_lock"],
    [access(FRAME17, { kind: "fill", size: 4096 }), "frame 17: 4096 bytes filled"],
    [access(0, { kind: "choose", before: 2n, after: 1n }), "chose 1 of 2"],
    [access(OPEN, { ...write, before: 1n, after: 1n }), "kvm.mmu_invalidate_in_progress = 1, unchanged"],
  ])("access %#", (item, words) => {
    expect(accessInWords({ layout: LAYOUT }, { step: 0, ...item })).toBe(words);
  });

  test.each([
    [{ passage: "buffered" }, "kvm.mmu_invalidate_in_progress 0 -> 1 (into the store buffer)"],
    [{ passage: "drained" }, "kvm.mmu_invalidate_in_progress 0 -> 1 (drained)"],
    [{ passage: "forwarded" }, "kvm.mmu_invalidate_in_progress 0 -> 1 (from its own store buffer)"],
    [{ passage: "late" }, "kvm.mmu_invalidate_in_progress 0 -> 1 (read late)"],
    [{ passage: "late", memory: 7n }, "kvm.mmu_invalidate_in_progress 0 -> 1 (read late: memory has 7)"],
  ] as const)("%o", (how, words) => {
    const item = access(OPEN, { ...write, before: 0n, after: 1n });
    expect(accessInWords({ layout: LAYOUT }, { step: 0, ...item, ...how })).toBe(words);
  });

  test.each([
    [note("SpteLeaf", 0x10n | (12n << 56n), leaf | SPTE_W), "translation gfn 0x10 -> pfn 7 RWX installed"],
    [note("SpteLeaf", 0x200n | (21n << 56n)), "translation gfn 0x200 (2M) gone"],
    [
      note("NotifyStart", 0x7f0000010000n, 0x7f0000011000n, { sub: 1 }),
      "invalidate start hva 0x7f0000010000, 1 page, Clear",
    ],
    [note("NotifyEnd", 0x1000n, 0x3000n), "invalidate end, hva 0x1000"],
    [note("HostLeaf", 0x7f000001000cn), "host entry of hva 0x7f0000010000 cleared"],
    [note("PagePut", 7n, 1n), "page 7 put: 1 reference"],
    [note("PageAlloc", 7n, 0x200n), "page 7 handed out, 2 references"],
    [note("TlbFill", 0x10000n, 0x7001n, { detail: 1 }), "tlb1: gva 0x10000 -> pfn 7"],
    [note("GuestUse", 0x10008n, (BigInt(FRAME17 + 8) << 1n) | 1n), "gva 0x10008: guest stores to pfn 17+0x8"],
    [note("LockTaken", BigInt(LOCK), 0n, { sub: 1 }), "takes kvm.mmu_lock (read)"],
    [note("LockTaken", BigInt(layout.ZONE_LOCK), 1n), "takes zone.lock"],
  ])("event %#", (event, words) => {
    expect(noteInWords({ layout: LAYOUT }, event)).toBe(words);
  });

  test("every event has a name and words of its own; an unknown one is told by its number", () => {
    const said = Object.values(layout.Note).map((kind) => {
      expect(noteName(kind)).toBeDefined();
      return noteInWords({ layout: LAYOUT }, { kind, sub: 0, detail: 0, a: 4096n, b: 8192n });
    });
    expect(new Set(said).size).toBe(said.length);
    expect(noteName(0)).toBeUndefined();
    expect(noteInWords({ layout: LAYOUT }, { kind: 250, sub: 0, detail: 0, a: 1n, b: 2n })).toBe(
      "event 250 (0x1, 0x2)",
    );
  });

  test("a trace without table changes has no roles", () => {
    expect(rolesOf(traceOf([access(FRAME17, { size: 8 })]))(17)).toBeUndefined();
  });
});

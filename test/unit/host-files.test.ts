// Files of the host: page cache, DAX devices, and what truncate does to either.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { FileKind, FileMachine, PageFlag } from "../file-machine.js";
import { HostMachine, HostStatus, MachineOption, PAGE, READ, Rule, Trap, WRITE } from "../host-machine.js";
import { Outcome, Profile, QUIET } from "../kvm-machine.js";

const ERAS = [
  ["idle at 1", Profile.V6_13, 1],
  ["idle at 0", Profile.V6_15, 0],
] as const;

describe("a file in the page cache", () => {
  test("a machine without files takes no memory for them, and has none", () => {
    const m = new FileMachine({ files: 0, filePages: 0 });
    expect(m.numbered("hostFileCreate", 1, 0).status).toBe(HostStatus.TooManyFiles);
    expect(m.numbered("hostDeviceCreate", 0, 0).status).toBe(HostStatus.TooManyFiles);
    expect(m.u64("hostMmapFile", 0, 0n, PAGE, READ, 1, 0)).toBe(BigInt(HostStatus.NoFile));
    const plain = new HostMachine({ vcpus: 1, hosts: 2 }).word(layout.HEADER_OFFSET_SIZE);
    expect(m.word(layout.HEADER_OFFSET_SIZE)).toBe(plain);
  });

  test("a fault adds the page, whose count has the cache and the mapping; munmap leaves the cache's", () => {
    const m = new FileMachine();
    const file = m.file(4);
    const hva = m.mapFile(file, 4);
    expect(m.store(hva + PAGE, 0x77n)).toBe(HostStatus.Ok);
    const pfn = m.pageOf(file, 1);
    expect([m.pfnOf(hva + PAGE), m.refcount(pfn), m.mapcount(pfn), m.mappingOf(pfn)]).toEqual([
      pfn,
      2,
      1,
      file,
    ]);
    expect(m.imbalance).toBe(0);
    expect(m.flagsOf(pfn) & PageFlag.Dirty).toBe(0);
    expect(m.unmap(hva, 4n * PAGE)).toBe(HostStatus.Ok);
    expect([m.pageOf(file, 1), m.refcount(pfn), m.mapcount(pfn)]).toEqual([pfn, 1, 0]);
    expect(m.flagsOf(pfn) & PageFlag.Dirty).toBe(PageFlag.Dirty);
    expect([m.readByte(file, 4096), m.imbalance]).toEqual([0x77, 0]);
  });

  test("a page that was only read is clean when it is unmapped", () => {
    const m = new FileMachine();
    const file = m.file(1);
    const hva = m.mapFile(file, 1);
    expect(m.load(hva)).toBe(0n);
    m.unmap(hva, PAGE);
    expect(m.flagsOf(m.pageOf(file, 0)) & PageFlag.Dirty).toBe(0);
  });

  test("two mappings of a page and write(2) are one page", () => {
    const m = new FileMachine();
    const file = m.file(3);
    const a = m.mapFile(file, 3);
    const b = m.mapFile(file, 1, { pgoff: 2, hva: 0x7000_0000_0000n });
    m.store(a + 2n * PAGE, 0x1122n);
    expect(m.load(b)).toBe(0x1122n);
    expect(m.writeByte(file, 2 * 4096 + 1, 0x33)).toBe(HostStatus.Ok);
    expect([m.load(a + 2n * PAGE), m.load(b)]).toEqual([0x3322n, 0x3322n]);
    const pfn = m.pageOf(file, 2);
    expect([m.refcount(pfn), m.mapcount(pfn), m.imbalance]).toEqual([3, 2, 0]);
    expect(m.dontneed(a, 3n * PAGE)).toBe(HostStatus.Ok);
    expect([m.load(a + 2n * PAGE), m.pfnOf(a + 2n * PAGE), m.imbalance]).toEqual([0x3322n, pfn, 0]);
  });

  test("holes read as zeros and take no page; read(2) and write(2) stay within the file", () => {
    const m = new FileMachine();
    const file = m.file(2);
    expect([m.readByte(file, 8191), m.pageOf(file, 1)]).toEqual([0, 0]);
    expect(() => m.readByte(file, 8192)).toThrow(`status ${HostStatus.BeyondEnd}`);
    expect(m.writeByte(file, 8192, 1)).toBe(HostStatus.BeyondEnd);
    expect(m.writeByte(9, 0, 1)).toBe(HostStatus.NoFile);
    expect(() => m.readByte(9, 0)).toThrow(`status ${HostStatus.NoFile}`);
    m.buffer(m.host, 5000).fill(0xab);
    expect(m.u32("hostFileWrite", m.host, file, 100n, 5000)).toBe(HostStatus.Ok);
    m.buffer(m.host, 5000).fill(0);
    expect(m.u32("hostFileRead", m.host, file, 100n, 5000)).toBe(HostStatus.Ok);
    expect(m.buffer(m.host, 5000).every((byte) => byte === 0xab)).toBe(true);
    expect([m.readByte(file, 99), m.readByte(file, 5100), m.imbalance]).toEqual([0, 0, 0]);
  });

  test("what lies beyond the end can be mapped, not touched", () => {
    const m = new FileMachine();
    const file = m.file(1);
    const hva = m.mapFile(file, 4);
    expect(m.store(hva, 1n)).toBe(HostStatus.Ok);
    expect(m.store(hva + PAGE, 1n)).toBe(HostStatus.BeyondEnd);
    expect(m.gup(hva + PAGE).status).toBe(HostStatus.BeyondEnd);
    expect(m.pin(hva + PAGE).status).toBe(HostStatus.BeyondEnd);
    expect(m.truncate(file, 2)).toBe(HostStatus.Ok);
    expect([m.store(hva + PAGE, 1n), m.imbalance]).toEqual([HostStatus.Ok, 0]);
  });

  test("files and pages of files are counted", () => {
    const m = new FileMachine({ files: 2, filePages: 4 });
    expect(m.numbered("hostFileCreate", 5, 0).status).toBe(HostStatus.FileTooLarge);
    const [a, b] = [m.file(4), m.file(0)];
    expect([a, b, m.numbered("hostFileCreate", 1, 0).status]).toEqual([1, 2, HostStatus.TooManyFiles]);
    expect(m.truncate(b, 5)).toBe(HostStatus.FileTooLarge);
    expect([m.truncate(3, 1), m.punch(0, 0, 1), m.destroyFile(3)]).toEqual(Array(3).fill(HostStatus.NoFile));
    expect(m.u32("hostFileKind", b)).toBe(FileKind.Cached);
  });

  test("VMAs of a file are cut and merged with their place in it", () => {
    const m = new FileMachine();
    const file = m.file(8);
    const other = m.file(8);
    const hva = m.mapFile(file, 8);
    expect(m.protect(hva + 3n * PAGE, 2n * PAGE, READ)).toBe(HostStatus.Ok);
    expect(m.vmas.length).toBe(3);
    m.store(hva + 6n * PAGE, 6n);
    expect(m.pfnOf(hva + 6n * PAGE)).toBe(m.pageOf(file, 6));
    expect(m.store(hva + 4n * PAGE, 1n)).toBe(HostStatus.Access);
    expect(m.load(hva + 4n * PAGE)).toBe(0n);
    expect(m.pageOf(file, 4)).toBe(m.pfnOf(hva + 4n * PAGE));
    expect(m.protect(hva, 8n * PAGE, READ | WRITE)).toBe(HostStatus.Ok);
    expect(m.vmas.length).toBe(1);
    m.unmap(hva + 2n * PAGE, 6n * PAGE);
    m.mapFile(file, 2, { hva: hva + 2n * PAGE, pgoff: 2 }); // goes on where the first ends
    expect(m.vmas.length).toBe(1);
    m.mapFile(file, 1, { hva: hva + 4n * PAGE, pgoff: 5 }); // does not
    m.mapFile(other, 1, { hva: hva + 5n * PAGE, pgoff: 6 }); // another file
    m.map(PAGE, { hva: hva + 6n * PAGE, actor: m.host }); // none
    expect(m.vmas.length).toBe(4);
    m.store(hva + 6n * PAGE, 9n);
    expect([m.mappingOf(m.pfnOf(hva + 6n * PAGE)), m.imbalance]).toEqual([0, 0]);
  });
});

test("a page of a file with as many references as it may have is refused to gup, and read as before", () => {
  for (const kind of ["page cache", "DAX"]) {
    const m = new FileMachine({ refcountLimit: 2 }); // the file's, the mapping's
    const file = m.file(1, kind === "DAX" ? m.device(0) : 0);
    const hva = m.mapFile(file, 1);
    m.writeByte(file, 0, 5);
    const pfn = m.pageOf(file, 0);
    expect([kind, m.gup(hva, true, m.host).status]).toEqual([kind, HostStatus.RefcountLimit]);
    expect([m.refcount(pfn), m.mapcount(pfn), m.readByte(file, 0)]).toEqual([1, 0, 5]);
  }
});

test("the kinds of mappings lie side by side: a file is neither copied by a fork nor by a write, nor merged with pfns", () => {
  const m = new FileMachine({ options: MachineOption.ZeroPages | MachineOption.SharedZeroPage });
  const file = m.file(2);
  const hva = m.mapFile(file, 2);
  const child = m.fork(hva, 2n * PAGE, m.host);
  expect(m.load(hva, 1)).toBe(0n); // a page of its own, not that of zeroes
  const pfn = m.pageOf(file, 0);
  expect([m.pfnOf(hva), pfn !== m.u32("hostZeroPfn"), m.childPfn(child, hva)]).toEqual([pfn, true, 0]);
  expect(m.forkExit(child)).toBe(HostStatus.Ok);
  m.protect(hva, PAGE, READ);
  m.protect(hva, PAGE, READ | WRITE);
  expect([m.store(hva, 9n, 1), m.pfnOf(hva), m.readByte(file, 0)]).toEqual([HostStatus.Ok, pfn, 9]);
  const raw = m.u32("hostAllocRaw", m.host, 1);
  const first = m.remap(raw, 1n, { hva: hva + 2n * PAGE });
  m.remap(raw + 1, 1n, { hva: first + PAGE });
  expect(m.u32("hostVmaCount")).toBe(3);
  expect([m.u32("hostSplitPage", m.host, hva), m.truncate(file, 0), m.pte(first) !== 0n]).toEqual([
    HostStatus.Invalid,
    HostStatus.Ok,
    true,
  ]);
});

describe("truncate of a file in the page cache", () => {
  test("unmaps every mapper, its vCPUs included, and frees the pages", () => {
    const m = new FileMachine();
    const file = m.file(4);
    const hva = m.mapFile(file, 4);
    const second = m.mapFile(file, 2, { pgoff: 1, hva: 0x7000_0000_0000n });
    expect(m.setSlot(0, 0n, 4n, hva)).toBe(0);
    for (let i = 0n; i < 4n; i++) expect(m.guestStore(i * PAGE, i)).toBe(Outcome.Ok);
    m.load(second + PAGE);
    expect(m.leaves).toBe(4);
    const kept = m.pageOf(file, 1);
    expect(m.truncate(file, 2)).toBe(HostStatus.Ok);
    expect([m.leaves, m.leaf(2n), m.pte(hva + 2n * PAGE), m.pte(second + PAGE)]).toEqual([2, 0n, 0n, 0n]);
    expect([m.pageOf(file, 1), m.pageOf(file, 2), m.load(second)]).toEqual([kept, 0, 1n]);
    expect(m.store(second + PAGE, 1n)).toBe(HostStatus.BeyondEnd);
    expect(m.guestLoad(2n * PAGE).outcome).toBe(Outcome.HostFault);
    expect(m.truncate(file, 4)).toBe(HostStatus.Ok);
    expect(m.guestLoad(2n * PAGE)).toEqual({ outcome: Outcome.Ok, value: 0n });
    expect(m.quiesce()).toEqual(QUIET);
    m.unmap(hva, 4n * PAGE);
    m.unmap(second, 2n * PAGE);
    expect(m.destroyFile(file)).toBe(HostStatus.Ok);
    expect([m.refcount(kept), m.imbalance]).toEqual([0, 0]);
  });

  test("does not look at the count: whoever holds the page writes to an orphan (claim C5)", () => {
    const m = new FileMachine();
    const file = m.file(1);
    const hva = m.mapFile(file, 1);
    const { pfn } = m.pin(hva);
    expect(m.truncate(file, 0)).toBe(HostStatus.Ok);
    expect([m.mappingOf(pfn), m.refcount(pfn), m.maybePinned(pfn)]).toEqual([0, 1024, true]);
    expect(m.truncate(file, 1)).toBe(HostStatus.Ok);
    expect(m.load(hva)).toBe(0n);
    expect(m.pfnOf(hva)).not.toBe(pfn);
    const epoch = m.epoch(pfn);
    m.unpin(pfn, { dirty: true });
    expect([m.epoch(pfn), m.refcount(pfn), m.imbalance]).toEqual([epoch + 1, 0, 0]);
  });

  test("a hole is punched where it is told, as far as the file goes", () => {
    const m = new FileMachine();
    const file = m.file(4);
    const hva = m.mapFile(file, 4);
    m.touch(hva, 4n * PAGE);
    expect(m.punch(file, 1, 2)).toBe(HostStatus.Ok);
    expect([0, 1, 2, 3].map((i) => m.pageOf(file, i) !== 0)).toEqual([true, false, false, true]);
    expect([m.load(hva + PAGE), m.u32("hostFileSize", file)]).toEqual([0n, 4]);
    expect(m.punch(file, 3, 0xffff_ffff)).toBe(HostStatus.Ok);
    expect(m.punch(file, 9, 1)).toBe(HostStatus.Ok);
    expect([m.pageOf(file, 3), m.imbalance]).toEqual([0, 0]);
  });

  test("a file that is mapped is not taken away", () => {
    const m = new FileMachine();
    const file = m.file(2);
    const hva = m.mapFile(file, 2);
    m.touch(hva, 2n * PAGE);
    expect([m.destroyFile(file), m.u32("hostFileSize", file)]).toEqual([HostStatus.Busy, 2]);
    m.unmap(hva, 2n * PAGE);
    expect([m.destroyFile(file), m.destroyFile(file)]).toEqual([HostStatus.Ok, HostStatus.NoFile]);
    expect([m.u32("hostFileKind", file), m.imbalance]).toEqual([FileKind.None, 0]);
  });

  test("the balance finds a page of a file with a reference too many", () => {
    const m = new FileMachine();
    const file = m.file(1);
    m.writeByte(file, 0, 1);
    expect(m.imbalance).toBe(0);
    m.raw["hostGetPage"]!(m.host, m.pageOf(file, 0));
    expect(m.imbalance).toBe(1);
  });
});

describe.each(ERAS)("a DAX file, %s", (_era, profile, idle) => {
  const machine = (more = {}): FileMachine => new FileMachine({ profile, build: "lab", ...more });

  test("its pages are blocks of the device, zeroed, counted from the idle value", () => {
    const m = machine();
    const device = m.device(2);
    const first = m.u32("hostDevicePfn", device);
    expect([0, 1, 2, 3].map((i) => m.refcount(first + i))).toEqual(Array(4).fill(idle));
    expect(m.flagsOf(first + 3) & PageFlag.ZoneDevice).toBe(PageFlag.ZoneDevice);
    expect(m.imbalance).toBe(0);
    const file = m.file(4, device);
    const hva = m.mapFile(file, 4);
    m.store(hva + PAGE, 5n);
    const pfn = m.pageOf(file, 1);
    expect([pfn, m.refcount(pfn), m.mapcount(pfn)]).toEqual([first, idle + 1, 1]);
    expect(m.pte(hva + PAGE) & layout.PTE_DEVMAP).toBe(layout.PTE_DEVMAP);
    const { pfn: got } = m.gup(hva + PAGE);
    expect([got, m.refcount(pfn)]).toEqual([pfn, idle + 2]);
    m.put(got);
    m.unmap(hva, 4n * PAGE);
    expect([m.refcount(pfn), m.pageOf(file, 1), m.readByte(file, 4096), m.imbalance]).toEqual([
      idle,
      pfn,
      5,
      0,
    ]);
    expect(m.writeByte(file, 4097, 6)).toBe(HostStatus.Ok);
    expect(m.load(m.mapFile(file, 4) + PAGE)).toBe(0x605n);
    expect(m.imbalance).toBe(0);
  });

  test("a device that is full has no block to give", () => {
    const m = machine();
    const file = m.file(3, m.device(1));
    const hva = m.mapFile(file, 3);
    expect(m.touch(hva, 2n * PAGE)).toBe(HostStatus.Ok);
    expect(m.store(hva + 2n * PAGE, 1n)).toBe(HostStatus.NoBlocks);
    expect(m.writeByte(file, 2 * 4096, 1)).toBe(HostStatus.NoBlocks);
    expect(m.readByte(file, 2 * 4096)).toBe(0);
    expect(m.punch(file, 0, 1)).toBe(HostStatus.Ok);
    expect([m.store(hva + 2n * PAGE, 1n), m.imbalance]).toEqual([HostStatus.Ok, 0]);
  });

  test("the device has a share of the frames that nobody else is given", () => {
    const m = machine({ options: MachineOption.ZeroPages | MachineOption.Poison });
    const free = m.free;
    const device = m.device(3);
    const first = m.u32("hostDevicePfn", device);
    expect([m.free, m.imbalance]).toEqual([free - 8, 0]);
    const taken: number[] = [];
    for (let pfn = m.u32("hostAllocPage", 0); pfn; pfn = m.u32("hostAllocPage", 0)) taken.push(pfn);
    expect(taken.filter((pfn) => pfn >= first && pfn < first + 8)).toEqual([]);
    for (const pfn of taken) m.put(pfn);
    const epoch = m.epoch(first);
    expect(m.destroyDevice(device)).toBe(HostStatus.Ok);
    expect([m.free, m.imbalance, m.epoch(first)]).toEqual([free, 0, epoch + 1]);
    expect([m.destroyDevice(device), m.u32("hostDevicePfn", device)]).toEqual([HostStatus.NoFile, 0]);
    expect(m.numbered("hostDeviceCreate", 0, 11).status).toBe(HostStatus.Invalid);
    expect(m.numbered("hostDeviceCreate", 0, 10).status).toBe(HostStatus.OutOfFrames);
    for (let i = 1; i <= 4; i++) expect(m.device(0)).toBe(i);
    expect(m.numbered("hostDeviceCreate", 0, 0).status).toBe(HostStatus.TooManyFiles);
    expect(m.numbered("hostFileCreate", 1, 5).status).toBe(HostStatus.NoFile);
  });

  test("truncate finds a held page busy; once it is put, its block may be another file's, in another epoch", () => {
    const m = machine();
    const device = m.device(0);
    const [a, b] = [m.file(1, device), m.file(1, device)];
    const hva = m.mapFile(a, 1);
    m.store(hva, 0xaan);
    const { pfn } = m.gup(hva);
    const epoch = m.epoch(pfn);
    expect(m.truncate(a, 0)).toBe(HostStatus.Busy);
    // Unmapped, associated, and as long as before: nothing else has happened.
    expect([m.pte(hva), m.pageOf(a, 0), m.u32("hostFileSize", a), m.epoch(pfn)]).toEqual([0n, pfn, 1, epoch]);
    expect(m.load(hva)).toBe(0xaan);
    m.put(pfn);
    expect(m.truncate(a, 0)).toBe(HostStatus.Ok);
    expect([m.refcount(pfn), m.mappingOf(pfn), m.epoch(pfn)]).toEqual([idle, 0, epoch + 1]);
    expect([m.readByte(b, 0), m.writeByte(b, 0, 1), m.pageOf(b, 0), m.mappingOf(pfn)]).toEqual([
      0,
      0,
      pfn,
      b,
    ]);
    expect(m.imbalance).toBe(0);
  });

  test("a vCPU's mapping keeps no truncate waiting: it is taken away", () => {
    const m = machine();
    const file = m.file(2, m.device(1));
    const hva = m.mapFile(file, 2);
    m.setSlot(0, 0n, 2n, hva);
    expect(m.guestStore(0n, 1n)).toBe(Outcome.Ok);
    const pfn = m.leafPfn(0n);
    expect([pfn, m.refcount(pfn)]).toEqual([m.pageOf(file, 0), idle + 1]);
    expect(m.truncate(file, 0)).toBe(HostStatus.Ok);
    expect([m.leaves, m.guestStore(0n, 1n)]).toEqual([0, Outcome.HostFault]);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("without DaxTruncateWaitsIdle the block of a held page is given to another file", () => {
    const m = machine({ without: [Rule.DaxTruncateWaitsIdle] });
    const device = m.device(0);
    const [a, b] = [m.file(1, device), m.file(1, device)];
    const { pfn } = m.pin(m.mapFile(a, 1));
    expect(m.truncate(a, 0)).toBe(HostStatus.Ok);
    expect([m.writeByte(b, 0, 1), m.mappingOf(pfn), m.maybePinned(pfn)]).toEqual([0, b, true]);
  });

  test("a device goes when no file has a block and nobody holds a page", () => {
    const m = machine();
    const device = m.device(1);
    const file = m.file(1, device);
    const hva = m.mapFile(file, 1);
    const { pfn } = m.gup(hva);
    expect(m.destroyDevice(device)).toBe(HostStatus.Busy);
    m.unmap(hva, PAGE);
    expect(m.destroyFile(file)).toBe(HostStatus.Busy);
    expect(m.u32("hostFileSize", file)).toBe(1);
    m.put(pfn);
    expect(m.destroyFile(file)).toBe(HostStatus.Ok);
    // A reference that was leaked: the device stays, and works.
    const second = m.file(1, device);
    const again = m.mapFile(second, 1);
    const leaked = m.gup(again).pfn;
    m.unmap(again, PAGE);
    expect(m.destroyFile(second)).toBe(HostStatus.Busy);
    m.put(leaked);
    expect([m.destroyFile(second), m.destroyDevice(device), m.imbalance]).toEqual([0, 0, 0]);
  });

  test("a put too many on a page of a device traps", () => {
    const m = machine();
    const file = m.file(1, m.device(0));
    const hva = m.mapFile(file, 1);
    m.store(hva, 1n);
    const pfn = m.pfnOf(hva);
    m.put(pfn); // the mapping's
    expect(m.imbalance).toBe(1);
    expect(() => m.put(pfn)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });
});

describe.each([
  ["v5.3", Profile.V5_3, true],
  ["v5.4", Profile.V5_4, false],
  ["v6.13", Profile.V6_13, false],
  ["v6.15", Profile.V6_15, false],
] as const)("Z02, %s: a guest uses a page of a DAX file", (_name, profile, leaks) => {
  test("the reference of its fault is put, or keeps file and device for ever", () => {
    const m = new FileMachine({ build: "lab", profile, without: [Rule.DaxTruncateWaitsIdle] });
    const device = m.device(0);
    const file = m.file(1, device);
    const hva = m.mapFile(file, 1);
    m.setSlot(0, 0n, 1n, hva);
    expect(m.guestStore(0n, 1n)).toBe(Outcome.Ok);
    expect(m.leafPfn(0n)).toBe(m.pageOf(file, 0));
    m.deleteSlot(0);
    m.unmap(hva, PAGE, m.host);
    expect(m.imbalance).toBe(leaks ? 1 : 0);
    expect(m.destroyFile(file)).toBe(HostStatus.Ok);
    expect(m.destroyDevice(device)).toBe(leaks ? HostStatus.Busy : HostStatus.Ok);
  });

  test("truncate waits for a mapping of kvm_vcpu_map, and for no SPTE", () => {
    const m = new FileMachine({ profile });
    const file = m.file(1, m.device(0));
    const hva = m.mapFile(file, 1);
    m.setSlot(0, 0n, 1n, hva);
    expect(m.u32("kvmVcpuMap", 0, 0, 0n, 0)).toBe(layout.KvmStatus.Ok);
    const pins = profile === Profile.V6_13 || profile === Profile.V6_15;
    expect(m.maybePinned(m.pageOf(file, 0))).toBe(pins);
    expect(m.truncate(file, 0)).toBe(HostStatus.Busy);
    expect(m.u32("kvmVcpuUnmap", 0, 0)).toBe(layout.KvmStatus.Ok);
    expect(m.truncate(file, 0)).toBe(leaks ? HostStatus.Busy : HostStatus.Ok);
  });
});

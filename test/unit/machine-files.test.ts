// machine.files and machine.direct: the typed views of files, devices, pins and direct I/O.
import { describe, expect, test } from "vitest";
import { Machine, type HostFile } from "../../src/index.js";
import { PAGE, refused } from "./machine-fixture.js";

const machine = (options = {}): Machine =>
  Machine.create({ frames: 512, files: 4, filePages: 32, ...options });

describe("files", () => {
  test("are read and written, mapped, truncated, and taken away", () => {
    const { files, mm } = machine();
    const file = files.create(20);
    expect([file.pages, file.dax, file.page(19)]).toEqual([20, false, null]);
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 251);
    file.write(5000, bytes);
    expect(file.read(5000, 70_000)).toEqual(bytes);
    expect(file.read(0, 5000).every((byte) => byte === 0)).toBe(true);
    const hva = mm.mmap(4 * PAGE, { file, page: 1 });
    expect(mm.read(hva + 904n, 10)).toEqual(bytes.subarray(0, 10));
    mm.store(hva, 0x1234n);
    expect(file.read(PAGE, 2)).toEqual(Uint8Array.of(0x34, 0x12));
    expect(mm.list()).toMatchObject([{ hva, protection: "rw", file: { number: file.number, page: 1 } }]);
    expect(mm.mapping(hva)).toMatchObject({ pfn: file.page(1), refcount: 2, mapcount: 1 });
    file.truncate(2);
    refused("ADDRESS_RANGE", () => mm.load(hva + 4096n));
    expect(mm.load(hva)).toBe(0x1234n);
    file.punchHole(1, 1);
    expect([mm.mapping(hva), mm.load(hva)]).toEqual([null, 0n]);
    refused("MACHINE_BUSY", () => file.destroy());
    mm.munmap(hva, 4 * PAGE);
    file.destroy();
    refused("USAGE", () => file.destroy());
    refused("USAGE", () => file.read(0, 1));
    expect(mm.countImbalances()).toBe(0);
  });

  test("on a device: truncate refuses to wait for a pin unless it is told to", () => {
    for (const profile of ["v6.13", "v6.15"] as const) {
      const { files, mm, direct } = machine({ profile });
      const device = files.createDevice(4);
      const [a, b] = [files.create(1, { device }), files.create(4, { device })];
      const hva = mm.mmap(PAGE, { file: a });
      const { pfn, writable } = direct.pin(hva);
      expect([a.dax, writable, pfn, direct.maybePinned(pfn)]).toEqual([true, true, device.firstPfn, true]);
      refused("MACHINE_BUSY", () => a.truncate(0));
      refused("UNSUPPORTED", () => direct.pin(hva, { longterm: true }));
      direct.unpin(pfn, { dirty: true });
      a.truncate(0, { wait: true });
      b.write(0, new Uint8Array(4 * PAGE).fill(7));
      expect([b.page(0), direct.maybePinned(pfn)]).toEqual([pfn, false]);
      a.truncate(1);
      refused("LIMIT_REACHED", () => mm.store(hva, 1));
      refused("MACHINE_BUSY", () => device.destroy());
      b.destroy();
      device.destroy();
      refused("USAGE", () => device.destroy());
      expect(mm.countImbalances()).toBe(0);
    }
  });

  test("limits and misuse are told in words", () => {
    const { files, mm } = machine();
    refused("LIMIT_REACHED", () => files.create(33));
    refused("USAGE", () => files.create(-1));
    refused("USAGE", () => files.create(1, { devise: 1 } as never));
    refused("USAGE", () => files.createDevice(3));
    const made = Array.from({ length: 4 }, () => files.create(1));
    refused("LIMIT_REACHED", () => files.create(1));
    refused("LIMIT_REACHED", () => made[0]!.truncate(33));
    refused("ADDRESS_RANGE", () => made[0]!.write(4095, new Uint8Array(2)));
    refused("ADDRESS_RANGE", () => made[0]!.read(4096, 1));
    refused("USAGE", () => mm.mmap(PAGE, { page: 1 }));
    refused("USAGE", () => mm.mmap(2 << 20, { file: made[0]!, pageSize: "2m" }));
    refused("USAGE", () => mm.mmap(PAGE, { file: {} as HostFile }));
    refused("USAGE", () => mm.mmap(PAGE, { file: machine().files.create(1) }));
    refused("USAGE", () => files.open(5));
    expect(files.open(2).pages).toBe(1);
    const none = Machine.create({ frames: 64 });
    refused("LIMIT_REACHED", () => none.files.create(0));
    refused("LIMIT_REACHED", () => none.files.createDevice(1));
    refused("USAGE", () => none.files.open(1));
  });
});

describe("direct I/O", () => {
  test("a device reads and writes user space", () => {
    const { mm, direct } = machine({ batchSize: 4096 });
    const hva = mm.mmap(8 * PAGE);
    const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => i % 249);
    direct.read(hva + 10n, bytes);
    expect(mm.read(hva + 10n, 20_000)).toEqual(bytes);
    expect(direct.write(hva + 10n, 20_000)).toEqual(bytes);
    const transfer = direct.begin(hva, 100);
    direct.transfer(transfer.handle, transfer.length, transfer.write).put(Uint8Array.of(1, 2, 3), 97);
    expect(mm.read(hva + 97n, 3)).toEqual(Uint8Array.of(1, 2, 3));
    refused("USAGE", () => transfer.put(new Uint8Array(4), 97));
    refused("USAGE", () => transfer.take(1));
    transfer.end();
    refused("USAGE", () => transfer.end());
    refused("USAGE", () => transfer.put(new Uint8Array(1)));
    refused("VMA_INVALID", () => direct.begin(hva + 0x8000n, 1));
    refused("USAGE", () => direct.begin(hva, 0));
    refused("USAGE", () => direct.unpin(mm.mapping(hva)!.pfn));
    expect(mm.countImbalances()).toBe(0);
  });
});

test("what has no page to pin, or one with too many references, is refused in words", () => {
  const { mm, direct } = machine({ refcountLimit: 4 });
  const raw = mm.allocateRaw(0);
  const remapped = mm.remapPfn(raw, PAGE);
  refused("VMA_INVALID", () => direct.pin(remapped));
  const hva = mm.mmap(PAGE);
  const { pfn } = direct.pin(hva);
  refused("LIMIT_REACHED", () => direct.pin(hva));
  refused("LIMIT_REACHED", () => direct.begin(hva, 1));
  direct.unpin(pfn);
  mm.munmap(remapped, PAGE);
  mm.freeRaw(raw, 0);
  expect(mm.countImbalances()).toBe(0);
});

test("a machine with files, a device and a transfer under way is saved, restored and cloned", () => {
  const source = machine({ profile: "v6.15" });
  const device = source.files.createDevice(2);
  const [cached, dax] = [source.files.create(2), source.files.create(2, { device })];
  const [a, b] = [source.mm.mmap(2 * PAGE, { file: cached }), source.mm.mmap(PAGE, { file: dax })];
  source.mm.store(a, 0x11n);
  source.mm.store(b, 0x22n);
  const transfer = source.direct.begin(b, 8);
  for (const copy of [Machine.restore(source.save()), source.clone()]) {
    expect(copy.configuration).toEqual(source.configuration);
    expect([copy.mm.load(a), copy.mm.load(b), copy.mm.countImbalances()]).toEqual([0x11n, 0x22n, 0]);
    const file = copy.files.open(dax.number);
    refused("MACHINE_BUSY", () => file.truncate(0));
    copy.direct.transfer(transfer.handle, 8, true).end();
    file.truncate(0);
    copy.files.open(cached.number).truncate(0);
    expect([copy.mm.mapping(a), copy.mm.mapping(b), copy.mm.countImbalances()]).toEqual([null, null, 0]);
  }
});

// Recorded accesses: sizes from 1 to 32 bytes, pages crossed, pages faulted in on demand, records that cannot be made.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { DriveMachine, DriveStatus, GuestMapping, MIB, PAGE, Stat } from "../drive-machine.js";

const { Access } = layout;

/** A guest that runs one process, backed on demand anywhere in the user half. */
function process(configuration = {}): DriveMachine {
  const m = new DriveMachine(configuration);
  m.map(1n << 47n, { mapping: GuestMapping.FirstTouch, gva: 0n });
  m.drive(0, { gva: PAGE, steps: 1 });
  return m;
}
const write = (gva: bigint, size: number) => ({ gva, size, access: Access.Write });
const read = (gva: bigint, size: number) => ({ gva, size, access: Access.Read });
const fetch = (gva: bigint, size: number) => ({ gva, size, access: Access.Fetch });

test("records touch the pages they name, and no others", () => {
  const m = process();
  m.records([read(0x40_0000n, 8), write(0x7fff_f000n, 4), fetch(0x40_1000n, 3), read(0x40_0100n, 1)]);
  expect(m.u32("driveTrace", 0, 0, 4)).toBe(4);
  expect(m.status()).toBe(DriveStatus.Ok);
  for (const gva of [0x40_0000n, 0x7fff_f000n, 0x40_1000n]) expect(m.leaf(gva)).not.toBe(0n);
  expect(m.leaf(0x40_2000n)).toBe(0n);
  expect(m.stat(0, Stat.GuestFaults)).toBe(3);
  expect(m.imbalance).toBe(0);
});

test.each([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31, 32])("%i bytes: those are written and no others", (size) => {
  for (const offset of [0n, 1n, 5n, 4095n, 4096n - BigInt(size), 4090n]) {
    const m = process();
    const gva = 0x50_0000n + offset;
    const around = Array.from({ length: 128 }, (_, i) => 0x50_0000n + offset - 48n + BigInt(i));
    for (const at of around) m.store(at, 0xeen, 1);
    m.records([write(gva, size)]);
    expect(m.u32("driveTrace", 0, 0, 1)).toBe(1);
    // A piece holds its own address, little-endian: the bytes that differ from 0xee are the access.
    const changed = around.filter((at) => m.load(at, 1) !== 0xeen);
    expect(changed[0]).toBe(gva);
    expect(changed.length).toBe(size);
  }
});

test("an access that crosses a page faults both in", () => {
  const m = process();
  m.records([read(0x60_0ffcn, 8)]);
  expect(m.u32("driveTrace", 0, 0, 1)).toBe(1);
  expect(m.leaf(0x60_0000n)).not.toBe(0n);
  expect(m.leaf(0x60_1000n)).not.toBe(0n);
  expect(m.stat(0, Stat.GuestFaults)).toBe(2);
  expect(m.stat(0, Stat.Accesses)).toBe(2);
});

test("read-modify-writes count as writes", () => {
  const m = process();
  m.records([{ gva: 0x70_0000n, size: 8, access: Access.Modify }]);
  expect(m.u32("driveTrace", 0, 0, 1)).toBe(1);
  expect(m.load(0x70_0000n)).toBe(0x70_0000n);
});

test("records are run from any number on, and again", () => {
  const m = process();
  m.records([write(0x1000n, 8), write(0x2000n, 8), write(0x3000n, 8)]);
  expect(m.u32("driveTrace", 0, 1, 2)).toBe(2);
  expect(m.leaf(0x1000n)).toBe(0n);
  expect(m.leaf(0x3000n)).not.toBe(0n);
  expect(m.u32("driveTrace", 0, 0, 3)).toBe(3);
});

test("an address that the process cannot have is given up and counted, and the rest goes on", () => {
  const m = process();
  m.records([read(0xffff_8880_0000_0000n, 8), read(0x0000_8000_0000_0000n, 8), read(0x1000n, 8)]);
  expect(m.u32("driveTrace", 0, 0, 3)).toBe(3);
  expect(m.status()).toBe(DriveStatus.Ok);
  expect(m.stat(0, Stat.AccessFaults)).toBe(2);
  expect(m.stat(0, Stat.Accesses)).toBe(1);
});

test("a process larger than guest RAM ends the trace where it was", () => {
  const m = process({ ram: MIB, frames: 1024 });
  const records = Array.from({ length: 500 }, (_, i) => write(BigInt(i + 1) * PAGE, 8));
  m.records(records);
  const done = m.u32("driveTrace", 0, 0, 500);
  expect(m.status()).toBe(DriveStatus.GuestOutOfMemory);
  expect(done).toBeGreaterThan(200);
  for (let i = 0; i < done; i++) expect(m.load(BigInt(i + 1) * PAGE)).toBe(BigInt(i + 1) * PAGE);
  expect(m.imbalance).toBe(0);
});

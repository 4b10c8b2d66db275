// The guest kernel boots: long mode, a direct map of all RAM for supervisor accesses only, tables in the right places.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  DIRECT,
  DriveMachine,
  GIB,
  GuestMapping,
  GuestOption,
  GuestStatus,
  MIB,
  MachineOption,
  Outcome,
  PAGE,
  USER,
} from "../drive-machine.js";

const { Access, Register } = layout;
const ONE_GIB_PAGES = MachineOption.ZeroPages | MachineOption.Poison | MachineOption.Page1GB;
const TWO_MIB_PAGES = MachineOption.ZeroPages | MachineOption.Poison;

const register = (m: DriveMachine, vcpu: number, which: number): bigint => m.u64("registerRead", vcpu, which);
/** Loads at CPL 0. */
function supervisorLoad(m: DriveMachine, gva: bigint): bigint {
  m.u32("registerWrite", 0, Register.Cpl, 0n);
  const value = m.load(gva);
  m.u32("registerWrite", 0, Register.Cpl, 3n);
  return value;
}

test("boot ends in long mode at CPL 3, every vCPU on the same tables", () => {
  const m = new DriveMachine({ vcpus: 3 });
  for (const vcpu of [0, 1, 2]) {
    expect(register(m, vcpu, Register.Cr0)).toBe(
      layout.CR0_PE | layout.CR0_ET | layout.CR0_WP | layout.CR0_PG,
    );
    expect(register(m, vcpu, Register.Cr4)).toBe(layout.CR4_PAE | layout.CR4_PGE);
    expect(register(m, vcpu, Register.Efer)).toBe(
      layout.EFER_SCE | layout.EFER_LME | layout.EFER_LMA | layout.EFER_NXE,
    );
    expect(register(m, vcpu, Register.Cr3)).toBe(register(m, 0, Register.Cr3));
    expect(register(m, vcpu, Register.Cpl)).toBe(3n);
  }
  expect(m.imbalance).toBe(0);
});

test("SMEP and SMAP are options", () => {
  const m = new DriveMachine({ guestOptions: GuestOption.Smep | GuestOption.Smap });
  expect(register(m, 0, Register.Cr4)).toBe(
    layout.CR4_PAE | layout.CR4_PGE | layout.CR4_SMEP | layout.CR4_SMAP,
  );
  // The kernel still handles faults: it touches the direct map only.
  m.map(MIB);
  m.store(USER, 5n);
  expect(m.load(USER)).toBe(5n);
  expect(m.imbalance).toBe(0);
});

describe.each([
  ["1-GByte", ONE_GIB_PAGES, 30n],
  ["2-MByte", TWO_MIB_PAGES, 21n],
])("a direct map of %s pages", (_, options, shift) => {
  test("covers RAM, for supervisor accesses only", () => {
    const m = new DriveMachine({ options, ram: 64n * MIB });
    for (const gpa of [0n, 0x1238n, 2n * MIB - 8n, 2n * MIB, 64n * MIB - 8n]) {
      m.corrupt(gpa & ~7n, gpa ^ 0x5555n); // from the host, to see it from the guest
      expect(supervisorLoad(m, DIRECT + (gpa & ~7n))).toBe(gpa ^ 0x5555n);
    }
    const leaf = m.leaf(DIRECT + 2n * MIB);
    expect(leaf & layout.PTE_PS).toBe(layout.PTE_PS);
    expect(leaf & layout.PTE_ADDRESS).toBe(((2n * MIB) >> shift) << shift);
    expect(leaf & layout.PTE_US).toBe(0n);
    expect(leaf & layout.PTE_G).toBe(layout.PTE_G);
    expect(leaf & layout.PTE_XD).toBe(layout.PTE_XD);
    expect(m.u32("vcpuLoad", 0, DIRECT, 8, Access.Read)).toBe(Outcome.PageFault);
  });
  test("does not reach beyond its last page", () => {
    const m = new DriveMachine({ options, ram: 64n * MIB });
    expect(m.leaf(DIRECT + (((64n * MIB - 1n) >> shift) << shift) + (1n << shift))).toBe(0n);
  });
});

test("the tables are what the processor reads: CR3, PML4, PDPT seen from the host", () => {
  const m = new DriveMachine();
  const cr3 = register(m, 0, Register.Cr3);
  const pml4e = m.physical(cr3 + 8n * ((DIRECT >> 39n) & 511n));
  expect(pml4e & layout.PTE_P).toBe(layout.PTE_P);
  expect(pml4e & layout.PTE_US).toBe(0n);
  const pdpte = m.physical((pml4e & layout.PTE_ADDRESS) + 8n * ((DIRECT >> 30n) & 511n));
  expect(pdpte & layout.PTE_PS).toBe(layout.PTE_PS);
  expect(pdpte & layout.PTE_ADDRESS).toBe(0n);
});

test("a machine of 1 TiB of guest RAM takes a handful of frames", () => {
  const m = new DriveMachine({ ram: 1024n * GIB, frames: 128 });
  m.map(512n * GIB, { mapping: GuestMapping.FirstTouch });
  m.store(USER, 1n);
  m.store(USER + 511n * GIB, 2n);
  expect(m.load(USER)).toBe(1n);
  expect(128 - m.u32("hostFreeFrames")).toBeLessThan(64);
  expect(m.imbalance).toBe(0);
});

test("a vCPU with an address space of its own shares the kernel's half and nothing else", () => {
  const m = new DriveMachine({ vcpus: 2 });
  expect(m.u32("guestJoin", 1, 1)).toBe(GuestStatus.Ok);
  expect(register(m, 1, Register.Cr3)).not.toBe(register(m, 0, Register.Cr3));
  m.map(MIB, { vcpu: 0 });
  m.map(MIB, { vcpu: 1 });
  m.store(USER, 10n, 8, 0);
  m.raw["driveWindow"]!(1, 1n, USER, 1, 12);
  expect(m.u32("driveRun", 1, 1)).toBe(1); // faults the page in: a private one
  expect(m.load(USER, 8, 1)).toBe(0n);
  m.store(USER, 11n, 8, 1);
  expect(m.load(USER, 8, 0)).toBe(10n);
  expect(m.leaf(DIRECT, 1)).toBe(m.leaf(DIRECT, 0));
  expect(m.imbalance).toBe(0);
});

test("RAM too small for the tables is out of memory, not a broken machine", () => {
  const m = new DriveMachine({ boot: false });
  expect(m.u32("guestBoot", 0, PAGE, 0)).toBe(GuestStatus.OutOfMemory);
  expect(m.u32("guestBoot", 0, 64n * MIB, 0)).toBe(GuestStatus.Ok);
  m.map(MIB);
  m.store(USER, 3n);
  expect(m.load(USER)).toBe(3n);
});

test("RAM without memory behind it is the host's error", () => {
  const m = new DriveMachine({ boot: false });
  m.raw["kvmSetMemslot"]!(0, 1, 0n, 0n, m.hva, 0);
  expect(m.u32("guestBoot", 0, 64n * MIB, 0)).toBe(GuestStatus.HostError);
});

test("a vCPU that is asked to leave does not boot, and boots when it is let", () => {
  const m = new DriveMachine({ boot: false });
  m.raw["vcpuInterrupt"]!(0);
  expect(m.u32("guestBoot", 0, 64n * MIB, 0)).toBe(GuestStatus.HostError);
  m.raw["vcpuResume"]!(0);
  expect(m.u32("guestBoot", 0, 64n * MIB, 0)).toBe(GuestStatus.Ok);
});

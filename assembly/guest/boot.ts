// Boot: from protected mode without paging to long mode, as a kernel's head code does it. The first vCPU builds the
// direct map, the others join it.

import { ACTOR_GUEST, ACTOR_OWN_SPACE, AddressSpace, GUEST_BASE, GUEST_DIRECT_MAP } from "../layout/guest";
import { GUEST_SHARED_SPACE, GuestOption, GuestRam, GuestStatus, GuestVcpu } from "../layout/guest";
import { Register } from "../layout/cpu";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { CR0_ET, CR0_PE, CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_SMAP, CR4_SMEP } from "../x86/bits";
import {
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  PTE_A,
  PTE_ADDRESS,
  PTE_D,
  PTE_G,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_XD,
} from "../x86/bits";
import { writeRegister } from "../x86/cpu";
import { createGuestRam, takeGuestTable } from "./allocator";
import { Kernel, kernelLoad, kernelStore } from "./memory";
import { GuestEntry, PML4_SHIFT } from "./tables";

const PAGE_1GB: u32 = 30;
const PAGE_2MB: u32 = 21;
/** A page of the direct map: supervisor only, global, not to be executed. */
const DIRECT_PAGE: u64 = PTE_P | PTE_RW | PTE_A | PTE_D | PTE_G | PTE_XD | PTE_PS;
const DIRECT_TABLE: u64 = PTE_P | PTE_RW | PTE_A;

/** Protected mode without paging, whatever was before: the kernel sees guest-physical addresses. */
function enterPhysical(vcpu: usize): void {
  writeRegister(vcpu, Register.Cpl, 0);
  writeRegister(vcpu, Register.Cr0, CR0_PE | CR0_ET);
  writeRegister(vcpu, Register.Cr4, 0);
  const kernel = changetype<GuestVcpu>(vcpu + ACTOR_GUEST);
  memory.fill(vcpu + ACTOR_GUEST, 0, offsetof<GuestVcpu>());
  kernel.space = <u32>GUEST_SHARED_SPACE;
}

/** Long mode with the tables of the vCPU's address space, running user code. */
function enterLongMode(vcpu: usize): void {
  const options = changetype<GuestRam>(GUEST_BASE).options;
  let cr4 = CR4_PAE | CR4_PGE;
  if (options & GuestOption.Smep) cr4 |= CR4_SMEP;
  if (options & GuestOption.Smap) cr4 |= CR4_SMAP;
  writeRegister(vcpu, Register.Efer, EFER_SCE | EFER_LME | EFER_NXE);
  writeRegister(vcpu, Register.Cr4, cr4);
  writeRegister(vcpu, Register.Cr3, Kernel.space(vcpu).cr3);
  writeRegister(vcpu, Register.Cr0, CR0_PE | CR0_ET | CR0_WP | CR0_PG);
  writeRegister(vcpu, Register.Cpl, 3);
  Kernel.of(vcpu).directMap = GUEST_DIRECT_MAP;
}

/** A new table linked at entry `at` of the table above: its gpa in `Kernel.value`. Before paging: nobody races. */
function addDirectTable(vcpu: usize, at: u64): GuestStatus {
  let status = kernelLoad(vcpu, at);
  if (status != GuestStatus.Ok) return status;
  let entry = Kernel.value(vcpu);
  if (entry == 0) {
    status = takeGuestTable(vcpu);
    if (status != GuestStatus.Ok) return status;
    entry = Kernel.value(vcpu) | DIRECT_TABLE;
    status = kernelStore(vcpu, at, entry);
    if (status != GuestStatus.Ok) return status;
  }
  Kernel.setValue(vcpu, entry & PTE_ADDRESS);
  return GuestStatus.Ok;
}

/** Maps [0, ramSize) at GUEST_DIRECT_MAP, in pages of 1 GByte if the processor has them, else of 2 MByte. */
function buildDirectMap(vcpu: usize, pml4: u64, ramSize: u64): GuestStatus {
  const shift = Map.has(MachineOption.Page1GB) ? PAGE_1GB : PAGE_2MB;
  for (let gpa: u64 = 0; gpa < ramSize; gpa += (<u64>1) << shift) {
    let table = pml4;
    for (let level = PML4_SHIFT; level > shift; level -= 9) {
      const status = addDirectTable(vcpu, GuestEntry.at(table, GUEST_DIRECT_MAP + gpa, level));
      if (status != GuestStatus.Ok) return status;
      table = Kernel.value(vcpu);
    }
    const status = kernelStore(vcpu, GuestEntry.at(table, GUEST_DIRECT_MAP + gpa, shift), gpa | DIRECT_PAGE);
    if (status != GuestStatus.Ok) return status;
  }
  return GuestStatus.Ok;
}

/** Boots the guest on its first vCPU: see `abi/drive.ts`. In guest mode. */
export function bootGuest(vcpu: usize, ramSize: u64, options: u32): GuestStatus {
  enterPhysical(vcpu);
  createGuestRam(ramSize, options);
  const space = changetype<AddressSpace>(GUEST_SHARED_SPACE);
  space.size = 0;
  let status = takeGuestTable(vcpu);
  if (status != GuestStatus.Ok) return status;
  space.cr3 = Kernel.value(vcpu);
  status = buildDirectMap(vcpu, space.cr3, ramSize);
  if (status == GuestStatus.Ok) enterLongMode(vcpu);
  return status;
}

/** Starts another vCPU of the booted guest, in the shared address space or (`own`) in one of its own. In guest mode. */
export function joinGuest(vcpu: usize, own: bool): GuestStatus {
  enterPhysical(vcpu);
  if (own) {
    const status = makeOwnSpace(vcpu);
    if (status != GuestStatus.Ok) return status;
  }
  enterLongMode(vcpu);
  return GuestStatus.Ok;
}

/** An address space with the kernel's half of the shared one and an empty user half. */
function makeOwnSpace(vcpu: usize): GuestStatus {
  let status = takeGuestTable(vcpu);
  if (status != GuestStatus.Ok) return status;
  const pml4 = Kernel.value(vcpu);
  const shared = changetype<AddressSpace>(GUEST_SHARED_SPACE).cr3;
  for (let i: u64 = 256; i < 512; i++) {
    status = kernelLoad(vcpu, shared + (i << 3));
    if (status != GuestStatus.Ok) return status;
    const entry = Kernel.value(vcpu);
    if (entry) status = kernelStore(vcpu, pml4 + (i << 3), entry);
    if (status != GuestStatus.Ok) return status;
  }
  const space = changetype<AddressSpace>(vcpu + ACTOR_OWN_SPACE);
  memory.fill(vcpu + ACTOR_OWN_SPACE, 0, offsetof<AddressSpace>());
  space.cr3 = pml4;
  Kernel.of(vcpu).space = <u32>(vcpu + ACTOR_OWN_SPACE);
  return GuestStatus.Ok;
}

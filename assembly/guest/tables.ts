// The guest's page tables: 4 levels, built with compare-and-swap, so that vCPUs that fault at once agree.

import { GUEST_BASE, GuestOption, GuestRam, GuestStatus } from "../layout/guest";
import { PTE_A, PTE_ADDRESS, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US } from "../x86/bits";
import { tlbInvalidatePage } from "../x86/tlb";
import { keepGuestTable, takeGuestTable } from "./allocator";
import { Kernel, kernelCas, kernelLoad } from "./memory";

/** Shift of the entries of a PML4. */
export const PML4_SHIFT: u32 = 39;

/** gpa of an entry. */
export class GuestEntry {
  @inline static at(table: u64, gva: u64, shift: u32): u64 {
    return table + (((gva >> shift) & 511) << 3);
  }
  /** An entry that refers to a table; user-mode accesses pass where the leaf lets them. */
  @inline static table(gpa: u64): u64 {
    return gpa | PTE_P | PTE_RW | PTE_US | PTE_A;
  }
  /** Rights of a user page, as the #PF handler sets them. */
  @inline static get userPage(): u64 {
    const lazy = changetype<GuestRam>(GUEST_BASE).options & GuestOption.LazyAccessedDirty;
    return lazy ? PTE_P | PTE_RW | PTE_US : PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D;
  }
}

/** Links a new table at `at`, which was empty. The table now there, ours or another vCPU's, is in `Kernel.value`. */
function linkGuestTable(vcpu: usize, at: u64): GuestStatus {
  let status = takeGuestTable(vcpu);
  if (status != GuestStatus.Ok) return status;
  const gpa = Kernel.value(vcpu);
  status = kernelCas(vcpu, at, 0, GuestEntry.table(gpa));
  if (status != GuestStatus.Ok || Kernel.value(vcpu) != 0) keepGuestTable(vcpu, gpa);
  else Kernel.setValue(vcpu, GuestEntry.table(gpa));
  return status;
}

/**
 * gpa of the entry of size `1 << shift` for `gva`, in `Kernel.value`, its tables made if need be. Exists if a larger
 * page is mapped there.
 */
function makeTables(vcpu: usize, gva: u64, shift: u32): GuestStatus {
  let table = Kernel.space(vcpu).cr3;
  for (let level = PML4_SHIFT; level > shift; level -= 9) {
    const at = GuestEntry.at(table, gva, level);
    let status = kernelLoad(vcpu, at);
    if (status == GuestStatus.Ok && Kernel.value(vcpu) == 0) status = linkGuestTable(vcpu, at);
    if (status != GuestStatus.Ok) return status;
    const entry = Kernel.value(vcpu);
    if (entry & PTE_PS) return GuestStatus.Exists;
    table = entry & PTE_ADDRESS;
  }
  Kernel.setValue(vcpu, GuestEntry.at(table, gva, shift));
  return GuestStatus.Ok;
}

/** Maps the page of `1 << shift` bytes at `gva` to `gpa`, with these bits. Exists if something is mapped there. */
export function mapGuestPage(vcpu: usize, gva: u64, gpa: u64, shift: u32, bits: u64): GuestStatus {
  let status = makeTables(vcpu, gva, shift);
  if (status != GuestStatus.Ok) return status;
  const leaf = gpa | bits | (shift == 12 ? 0 : PTE_PS);
  status = kernelCas(vcpu, Kernel.value(vcpu), 0, leaf);
  if (status != GuestStatus.Ok) return status;
  return Kernel.value(vcpu) == 0 ? GuestStatus.Ok : GuestStatus.Exists;
}

/** gpa of the leaf entry for `gva`, 0 if there is none, in `Kernel.value`. */
function findLeaf(vcpu: usize, gva: u64): GuestStatus {
  let table = Kernel.space(vcpu).cr3;
  let level = PML4_SHIFT;
  while (true) {
    const at = GuestEntry.at(table, gva, level);
    const status = kernelLoad(vcpu, at);
    if (status != GuestStatus.Ok) return status;
    const entry = Kernel.value(vcpu);
    if ((entry & PTE_P) == 0) {
      Kernel.setValue(vcpu, 0);
      return GuestStatus.Ok;
    }
    if (level == 12 || entry & PTE_PS) {
      Kernel.setValue(vcpu, at);
      return GuestStatus.Ok;
    }
    table = entry & PTE_ADDRESS;
    level -= 9;
  }
}

/** The leaf entry for `gva`, 0 if there is none, in `Kernel.value`. */
export function readGuestLeaf(vcpu: usize, gva: u64): GuestStatus {
  const status = findLeaf(vcpu, gva);
  if (status != GuestStatus.Ok || Kernel.value(vcpu) == 0) return status;
  return kernelLoad(vcpu, Kernel.value(vcpu));
}

/** Unmaps the page at `gva`, and INVLPG. Other vCPUs may go on using it until they flush, as on hardware. */
export function unmapGuestPage(vcpu: usize, gva: u64): GuestStatus {
  let status = findLeaf(vcpu, gva);
  const at = Kernel.value(vcpu);
  if (status != GuestStatus.Ok || at == 0) return status == GuestStatus.Ok ? GuestStatus.BadAddress : status;
  do {
    status = kernelLoad(vcpu, at);
    if (status != GuestStatus.Ok) return status;
    const entry = Kernel.value(vcpu);
    status = kernelCas(vcpu, at, entry, 0);
    if (status != GuestStatus.Ok) return status;
    if (Kernel.value(vcpu) == entry) break; // else a walker set A or D meanwhile
  } while (true);
  tlbInvalidatePage(vcpu, gva);
  return GuestStatus.Ok;
}

/** What the set-ups of scenarios have in common: memory of the VMM behind guest-physical addresses. */

import { type HostPageSize } from "../machine/host-mm.js";
import { type Machine } from "../machine/machine.js";

/** Bytes of a small and of a large page. */
export const PAGE = 4096n;
export const LARGE = 2n << 20n;

/** Where the guest's memory begins in most scenarios. */
export const GPA = 0x10000n;

/** How memory is laid behind a memslot. */
export interface Backing {
  readonly gpa?: bigint;
  /** Default: where there is room. */
  readonly hva?: bigint;
  readonly length?: bigint;
  readonly pageSize?: HostPageSize;
  /** Pages that are there from the start; false: none. Default: all. */
  readonly populated?: boolean;
}

/** Maps memory, makes a memslot of it, and faults it in. Returns its host-virtual address. */
export function back(machine: Machine, backing: Backing = {}): bigint {
  const { gpa = GPA, hva, length = PAGE, pageSize = "4k", populated = true } = backing;
  const at = machine.mm.mmap(length, hva === undefined ? { pageSize } : { pageSize, at: hva });
  machine.memslots.add({ gpa, hva: at, length });
  if (populated) machine.mm.populate(at, length);
  return at;
}

/** Lets a vCPU write its gpas, so that its root is loaded, its tables are linked, and its TLB and its leaves are filled. */
export function warm(machine: Machine, vcpu: number, ...gpas: readonly bigint[]): void {
  for (const gpa of gpas) machine.vcpu(vcpu).write(gpa, 1n);
}

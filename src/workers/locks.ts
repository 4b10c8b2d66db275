/** Who holds the locks of a machine, read from its memory: what to say of a thread that died. */

import {
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_PAGES_BASE,
  KVM_DEFERRED_LOCK,
  KVM_MMU_LOCK,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ARCH_LOCK,
  KVM_SLOTS_LOCK,
  KVM_TDP_PAGES_LOCK,
  MM_BASE,
  MM_MMAP_LOCK,
  PAGE_LOCK,
  PAGE_STRUCT_SIZE,
  ZONE_LOCK,
} from "../core/layout.generated.js";

/** Spin locks: a word, index + 1 of the owner, bit 31 for sleepers (assembly/sync/spin.ts). */
const SPIN_LOCKS: readonly (readonly [name: string, address: number])[] = [
  ["mn_invalidate_lock", KVM_MN_INVALIDATE_LOCK],
  ["slots_lock", KVM_SLOTS_LOCK],
  ["slots_arch_lock", KVM_SLOTS_ARCH_LOCK],
  ["tdp_mmu_pages_lock", KVM_TDP_PAGES_LOCK],
  ["the lock of the deferred free list", KVM_DEFERRED_LOCK],
  ["zone.lock", ZONE_LOCK],
];

/** Reader-writer locks: state, then the writer's index + 1 (assembly/sync/rwlock.ts). */
const RW_LOCKS: readonly (readonly [name: string, address: number])[] = [
  ["mmu_lock", KVM_MMU_LOCK],
  ["mmap_lock", MM_BASE + MM_MMAP_LOCK],
];

const WRITER = 0x80000000;
const READERS = 0xffff;
const OWNER_BITS = 0x7fffffff;

/**
 * Locks that the actor with this index holds. A reader-writer lock that is held for read does not record by whom: it
 * is listed as such, because the dead actor may be one of them.
 */
export function locksHeldBy(memory: WebAssembly.Memory, actor: number): string[] {
  const words = new Uint32Array(memory.buffer);
  const word = (address: number): number => Atomics.load(words, address / 4);
  const owner = actor + 1;
  const held: string[] = [];
  for (const [name, address] of RW_LOCKS) {
    const state = word(address);
    // Beside a writer, readers are those that came in vain and are about to take their count back.
    if (word(address + 4) === owner) held.push(`${name} (write)`);
    else if ((state & WRITER) === 0 && state & READERS)
      held.push(`perhaps ${name} (read, by ${state & READERS})`);
  }
  for (const [name, address] of SPIN_LOCKS) if ((word(address) & OWNER_BITS) === owner) held.push(name);
  const pages = word(HEADER_OFFSET_PAGES_BASE);
  const frames = word(HEADER_OFFSET_FRAME_COUNT);
  for (let pfn = 0; pfn < frames; pfn++) {
    const lock = word(pages + pfn * PAGE_STRUCT_SIZE + PAGE_LOCK);
    if ((lock & OWNER_BITS) === owner) held.push(`the lock of page-table page pfn 0x${pfn.toString(16)}`);
  }
  return held;
}

/** Who holds the locks of a machine, read from its memory: what to say of a thread that died. */

import { type WasmMemory } from "../core/wasm.js";
import {
  ACTOR_SHIFT,
  GRACE_MMAP_READER,
  GRACE_MMU_READER,
  HEADER_OFFSET_ACTORS_BASE,
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_PAGES_BASE,
  KVM_DEFERRED_LOCK,
  KVM_MMU_LOCK,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ARCH_LOCK,
  KVM_SLOTS_LOCK,
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
  ["the lock of the deferred free list", KVM_DEFERRED_LOCK],
  ["zone.lock", ZONE_LOCK],
];

/** Reader-writer locks: a word like a spin lock's, and a word of each actor's block (assembly/sync/rwlock.ts). */
const RW_LOCKS: readonly (readonly [name: string, address: number, reader: number])[] = [
  ["mmu_lock", KVM_MMU_LOCK, GRACE_MMU_READER],
  ["mmap_lock", MM_BASE + MM_MMAP_LOCK, GRACE_MMAP_READER],
];

const OWNER_BITS = 0x7fffffff;

/** Locks that the actor with this index holds. */
export function locksHeldBy(memory: WasmMemory, actor: number): string[] {
  const words = new Uint32Array(memory.buffer);
  const word = (address: number): number => Atomics.load(words, address / 4);
  const owner = actor + 1;
  const held: string[] = [];
  const block = word(HEADER_OFFSET_ACTORS_BASE) + (actor << ACTOR_SHIFT);
  for (const [name, address, reader] of RW_LOCKS) {
    if (word(address) === owner) held.push(`${name} (write)`);
    else if (word(block + reader) !== 0) held.push(`${name} (read)`);
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

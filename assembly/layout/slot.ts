// Memslots: two copies of the array, so that readers under kvm.srcu use one while the updater writes the other.
// Each copy is sorted by base gfn; a second array orders the same slots by hva for the notifier.

/** struct kvm_memory_slot: guest-physical [baseGfn, baseGfn + npages) is backed by hva [hva, hva + npages * 4096). */
@unmanaged
export class Slot {
  baseGfn: u64;
  npages: u64;
  /** Page-aligned userspace address. */
  hva: u64;
  /** Chosen by the user, unique. */
  id: u32;
  /** `SlotFlag` bits. */
  flags: u32;
}
export const SLOT_SHIFT: u32 = 5;

/** Row of the hva index: slots by hva, with the largest end among this row and all before it. */
@unmanaged
export class SlotByHva {
  maxEnd: u64;
  /** Position of the slot in the array sorted by gfn. */
  position: u32;
  private pad: u32;
}
export const SLOT_BY_HVA_SHIFT: u32 = 4;

/** Ahead of each copy's rows: how many there are. */
@unmanaged
export class SlotsHead {
  count: u32;
  /** Another one in each copy that is published: what a cached hva is compared with. */
  generation: u32;
}
export const SLOTS_HEAD_SIZE: u32 = 64;

export enum SlotFlag {
  /** KVM_MEM_READONLY: guest writes go to the embedder as MMIO. */
  ReadOnly = 1 << 1,
  /** KVM_MEMSLOT_INVALID: being deleted or moved; faults retry, nothing may be installed. */
  Invalid = 1 << 16,
}

if (offsetof<Slot>() != (<usize>1) << SLOT_SHIFT) ERROR("a memslot must fill its row");
if (offsetof<SlotByHva>() != (<usize>1) << SLOT_BY_HVA_SHIFT)
  ERROR("a row of the hva index must fill its place");

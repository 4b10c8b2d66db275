// SPTEs of the TDP MMU: EPT entries (Intel SDM vol. 3C 29.3.2) whose ignored bits carry KVM's own state.
//
//   63      58 57 51       12 11 10  9  8  7  6 5   3  2  1  0
//   +-----+--+--+--+--------+--+--+--+--+--+--+-----+--+--+--+
//   |     |MW|HW|  |  pfn   |SP|  |D |A |PS|IP| MT  |X |W |R |
//   +-----+--+--+--+--------+--+--+--+--+--+--+-----+--+--+--+
//   MW mmu_writable: KVM may set W without a look at the host   HW host_writable: the host maps the page writable
//   SP shadow-present: a translation, leaf or table             IP ignore PAT; MT memory type, 6 = write-back
//
// W => MW => HW (docs/protocol.md, Faults).

export const SPTE_R: u64 = 1 << 0;
export const SPTE_W: u64 = 1 << 1;
export const SPTE_X: u64 = 1 << 2;
export const SPTE_MEMTYPE_WB: u64 = 6 << 3;
export const SPTE_IPAT: u64 = 1 << 6;
/** Leaf above the last level. */
export const SPTE_PS: u64 = 1 << 7;
export const SPTE_A: u64 = 1 << 8;
export const SPTE_D: u64 = 1 << 9;
export const SPTE_SHADOW_PRESENT: u64 = 1 << 11;
export const SPTE_HOST_WRITABLE: u64 = 1 << 57;
export const SPTE_MMU_WRITABLE: u64 = 1 << 58;
/** Nothing was ever mapped, or it was zapped. */
export const SPTE_NONPRESENT: u64 = 0;
/** Being taken out by somebody: not present to hardware, not to be changed by anyone else. */
export const SPTE_FROZEN: u64 = 1 << 59;

const PFN_MASK: u64 = 0x000ffffffffff000;

/** Reading an SPTE's fields. */
export class Spte {
  /** A translation: leaf or table. Frozen and zapped entries are not. */
  @inline static present(spte: u64): bool {
    return (spte & SPTE_SHADOW_PRESENT) != 0;
  }
  /** A present entry maps a page at `shift` 12, or carries PS above. */
  @inline static leaf(spte: u64, shift: u32): bool {
    return shift == 12 || (spte & SPTE_PS) != 0;
  }
  @inline static pfn(spte: u64): u32 {
    return <u32>((spte & PFN_MASK) >> 12);
  }
  /** Entry that links a lower table. */
  @inline static link(pfn: u32): u64 {
    return ((<u64>pfn) << 12) | SPTE_R | SPTE_W | SPTE_X | SPTE_A | SPTE_SHADOW_PRESENT;
  }
  /** Leaf of size `1 << shift`; `write`: the fault is a write, so the page counts as dirty from the start. */
  @inline static make(pfn: u32, shift: u32, hostWritable: bool, slotWritable: bool, write: bool): u64 {
    let spte: u64 =
      ((<u64>pfn) << 12) | SPTE_R | SPTE_X | SPTE_MEMTYPE_WB | SPTE_IPAT | SPTE_A | SPTE_SHADOW_PRESENT;
    if (hostWritable) {
      spte |= SPTE_HOST_WRITABLE;
      if (slotWritable) spte |= SPTE_MMU_WRITABLE | SPTE_W;
    }
    if (write) spte |= SPTE_D;
    if (shift != 12) spte |= SPTE_PS;
    return spte;
  }
}

/** Index into a table whose entries span `1 << shift` bytes, as a byte offset. */
export class Index {
  @inline static of(gfn: u64, shift: u32): usize {
    return ((<usize>(gfn >> (shift - 12))) & 511) << 3;
  }
}

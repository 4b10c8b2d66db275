// A paging mode is a number: what a walker has to know of the shape of the tables, packed, so that it folds where it
// is a constant and is one load where it is not.
//
//   16       15     14      13:9                        8:3                       2:0
//   as user  host   ept     levels that may be leaves   shift of the top level    levels
//
// ept      entries have the EPT format
// host     tables of the host itself, in frames: whoever walks them decides on rights
// as user  every access counts as one of user mode (AMD nested paging)

const LEAF_4K: u32 = 1 << 9;
const LEAF_2M: u32 = 2 << 9;
const LEAF_1G: u32 = 4 << 9;
const EPT: u32 = 1 << 14;
const HOST: u32 = 1 << 15;
const AS_USER: u32 = 1 << 16;

/** No paging: the address is used as it is (CR0.PG clear). */
export const MODE_NONE: u32 = 0;
/** 4-level paging (SDM vol. 3A, 4.5). */
export const MODE_4LEVEL: u32 = 4 | (39 << 3) | LEAF_4K | LEAF_2M | LEAF_1G;
/** 5-level paging. */
export const MODE_5LEVEL: u32 = 5 | (48 << 3) | LEAF_4K | LEAF_2M | LEAF_1G;
/** EPT with a walk of four levels (SDM vol. 3C, 29.3). */
export const MODE_EPT4: u32 = 4 | (39 << 3) | LEAF_4K | LEAF_2M | LEAF_1G | EPT;
/** EPT with a walk of five levels. */
export const MODE_EPT5: u32 = 5 | (48 << 3) | LEAF_4K | LEAF_2M | LEAF_1G | EPT;
/** Nested paging of AMD: the ordinary format, walked as user mode (APM vol. 2, 15.25). */
export const MODE_NPT4: u32 = MODE_4LEVEL | AS_USER;
export const MODE_NPT5: u32 = MODE_5LEVEL | AS_USER;
/** The host's own tables: the ordinary format in frames; whoever walks them decides on rights. */
export const MODE_HOST: u32 = MODE_4LEVEL | HOST;

export class Mode {
  @inline static levels(mode: u32): u32 {
    return mode & 7;
  }
  /** log2 of what one entry of the top level spans. */
  @inline static topShift(mode: u32): u32 {
    return (mode >> 3) & 63;
  }
  @inline static ept(mode: u32): bool {
    return (mode & EPT) != 0;
  }
  @inline static asUser(mode: u32): bool {
    return (mode & AS_USER) != 0;
  }
  /** Bits of an address that the tables translate: 48 or 57. */
  @inline static width(mode: u32): u32 {
    return Mode.topShift(mode) + 9;
  }
  /** True if entries of `level` may map a page. */
  @inline static mayBeLeaf(mode: u32, level: u32): bool {
    return ((mode >> (8 + level)) & 1) != 0;
  }
  /** log2 of what one entry of `level` spans: 12, 21, 30, 39, 48. */
  @inline static shift(level: u32): u32 {
    return 3 + 9 * level;
  }
  /** Byte offset, in its table, of the entry of `level` that translates `address`. */
  @inline static offset(level: u32, address: u64): usize {
    return (<usize>(address >> (9 * level))) & 0xff8;
  }
  /** True if bits 63 to the top of the mode's address all equal the highest bit that is translated. */
  @inline static canonical(mode: u32, address: u64): bool {
    const unused: u64 = 64 - 9 - Mode.topShift(mode);
    return <u64>((<i64>(address << unused)) >> unused) == address;
  }
}

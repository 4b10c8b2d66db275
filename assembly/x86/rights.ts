// What a translation allows, and what an access may not meet. Both are sets of the same bits, so that the check of a
// TLB hit is one AND: an *obstacle* is a property of the translation (it is read-only, it belongs to user mode, ...),
// a *deny mask* holds the obstacles that stop one kind of access in the present control state. A change of CR0.WP,
// CR4.SMAP, RFLAGS.AC, the CPL or PKRU recomputes the masks and leaves the TLB as it is.
//
// A set of obstacles (u64; in TLB entries and deny masks):
//
//   47:32                    31:16                  13:12       10            9  8             7:5                4      3     2   1           0
//   key, one of 16, of a     key of a user-mode     guest page  no fetch of   G  nested clean  no nested X, W, R  clean  user  XD  supervisor  read-only
//   supervisor-mode address  address                size        the other mode
//
// The obstacles of nested tables bear the names of EPT; those of AMD nested paging are the same ones: no R is a page that
// is not user mode's, no W one that is read-only, no X one with XD, and clean one whose dirty flag is clear.
//
// With mode-based execute control bit 7 speaks of fetches from a page of the mode that this one is, as its guest tables
// say, and bit 10 of the other mode.
// A translation (u64; what a walk returns, 0 if it did not come to an end):
//
//   62:59  58     55:54  53:52        51:12             10:0
//   key    valid  guest  size of all  physical address  obstacles as above
//                 page   dimensions
//
// Sizes: 0 is 4 KByte, 1 is 2 MByte, 2 is 1 GByte.

import { EPT_X, EPT_XU, PTE_ADDRESS, PTE_D, PTE_G, PTE_KEY_SHIFT, PTE_RW, PTE_US, PTE_XD } from "./bits";

export const OBSTACLE_READ_ONLY: u64 = 1 << 0;
export const OBSTACLE_SUPERVISOR: u64 = 1 << 1;
export const OBSTACLE_XD: u64 = 1 << 2;
export const OBSTACLE_USER: u64 = 1 << 3;
/** The dirty flag of the guest's entry is clear: a write has to walk, to set it. */
export const OBSTACLE_CLEAN: u64 = 1 << 4;
export const OBSTACLE_EPT_NO_READ: u64 = 1 << 5;
export const OBSTACLE_EPT_NO_WRITE: u64 = 1 << 6;
export const OBSTACLE_EPT_NO_FETCH: u64 = 1 << 7;
/** The three above. */
export const OBSTACLES_EPT: u64 = 7 << 5;
/** The dirty flag of the EPT entry is clear. */
export const OBSTACLE_EPT_CLEAN: u64 = 1 << 8;
/** Not an obstacle: the translation is global. */
export const TRANSLATION_GLOBAL: u64 = 1 << 9;
/** Not an obstacle: with mode-based execute control, what OBSTACLE_EPT_NO_FETCH says, for pages of the other mode. */
export const OBSTACLE_EPT_NO_OTHER_FETCH: u64 = 1 << 10;
export const OBSTACLE_USER_KEYS: u64 = 16;
export const OBSTACLE_SUPERVISOR_KEYS: u64 = 32;

const OBSTACLES: u64 = 0x7ff;
const EPT_RIGHTS_SHIFT: u64 = 5;
const SIZE_SHIFT: u64 = 52;
const GUEST_SIZE_SHIFT: u64 = 54;
const VALID: u64 = 1 << 58;
const KEY: u64 = 15 << 59;
const ENTRY_GUEST_SIZE_SHIFT: u64 = 12;

/** Obstacles that entries raise. */
export class Obstacles {
  /** Of an ordinary walk: `all` is the AND of its entries, `any` the OR, `leaf` the last. */
  @inline static ordinary(all: u64, any: u64, leaf: u64): u64 {
    return (
      ((~all & (PTE_RW | PTE_US)) >> 1) |
      ((any & PTE_XD) >> 61) |
      ((all & PTE_US) << 1) |
      ((~leaf & PTE_D) >> 2) |
      ((leaf & PTE_G) << 1)
    );
  }
  /** Of an EPT walk: `all` is the AND of its entries, `leaf` the last. */
  @inline static nested(all: u64, leaf: u64): u64 {
    return ((~all & 7) << EPT_RIGHTS_SHIFT) | ((~leaf >> 1) & OBSTACLE_EPT_CLEAN);
  }
  /** Of a walk of AMD's nested tables: as of an EPT walk. */
  @inline static nestedOrdinary(all: u64, any: u64, leaf: u64): u64 {
    return ((~all & PTE_US) << 3) | ((~all & PTE_RW) << 5) | ((any & PTE_XD) >> 56) | ((~leaf & PTE_D) << 2);
  }
  /** Obstacles `found` of an EPT walk (`all` is the AND of its entries) under mode-based execute control. */
  @inline static modeBased(found: u64, all: u64, user: bool): u64 {
    const own = user ? EPT_XU : EPT_X;
    const other = user ? EPT_X : EPT_XU;
    return (
      (found & ~OBSTACLE_EPT_NO_FETCH) |
      (all & own ? 0 : OBSTACLE_EPT_NO_FETCH) |
      (all & other ? 0 : OBSTACLE_EPT_NO_OTHER_FETCH)
    );
  }
  /** Obstacles that stop an access needing `bits`, R, W and X of EPT: dirty flags aside. */
  @inline static nestedDeny(bits: u64): u64 {
    return bits << EPT_RIGHTS_SHIFT;
  }
  /** The key of a translation, as an obstacle. */
  @inline static key(key: u64, obstacles: u64): u64 {
    return (1 << (OBSTACLE_USER_KEYS + key)) << ((obstacles & OBSTACLE_SUPERVISOR) << 3);
  }
  /** R, W, X and XU of the EPT entries that raised these obstacles, each at its place in an entry. */
  @inline static entryRights(obstacles: u64, modeBased: bool): u64 {
    const rights = (~obstacles >> EPT_RIGHTS_SHIFT) & 7;
    if (!modeBased) return rights;
    const own = (obstacles & OBSTACLE_EPT_NO_FETCH) == 0;
    const other = (obstacles & OBSTACLE_EPT_NO_OTHER_FETCH) == 0;
    const user = (obstacles & OBSTACLE_USER) != 0;
    return (rights & 3) | ((user ? other : own) ? EPT_X : 0) | ((user ? own : other) ? EPT_XU : 0);
  }
}

/** In place of a translation: the walk has come to its end without one, and the record says why. */
export const ENDED: u64 = 1;

/** The result of a walk. */
export class Translation {
  @inline static make(pa: u64, obstacles: u64, size: u64, leaf: u64): u64 {
    return pa | obstacles | (size << SIZE_SHIFT) | (size << GUEST_SIZE_SHIFT) | VALID | (leaf & KEY);
  }
  /** The guest's translation `guest`, whose page an EPT walk translated as `nested`. */
  @inline static combine(guest: u64, nested: u64): u64 {
    const a = guest & (3 << SIZE_SHIFT);
    const b = nested & (3 << SIZE_SHIFT);
    const rest: u64 = ~(PTE_ADDRESS | (3 << SIZE_SHIFT));
    return (guest & rest) | (nested & (PTE_ADDRESS | OBSTACLES)) | (a < b ? a : b);
  }
  /** Address of the 4-KByte page that was asked for, also within a large page. */
  @inline static page(t: u64): u64 {
    return t & PTE_ADDRESS;
  }
  @inline static obstacles(t: u64): u64 {
    return t & OBSTACLES;
  }
  @inline static size(t: u64): u32 {
    return (<u32>(t >> SIZE_SHIFT)) & 3;
  }
  @inline static guestSize(t: u64): u32 {
    return (<u32>(t >> GUEST_SIZE_SHIFT)) & 3;
  }
  @inline static key(t: u64): u64 {
    return (t >> PTE_KEY_SHIFT) & 15;
  }
  /** What a TLB entry keeps: obstacles, the key as one of them, and the guest's page size. */
  @inline static rights(t: u64): u64 {
    const obstacles = t & OBSTACLES;
    return (
      obstacles |
      Obstacles.key(Translation.key(t), obstacles) |
      ((<u64>Translation.guestSize(t)) << ENTRY_GUEST_SIZE_SHIFT)
    );
  }
  /** True if an access with this deny mask may not use the translation. */
  @inline static denies(t: u64, deny: u64): bool {
    if (t & OBSTACLES & deny) return true;
    // Keys are switched off as a rule: then the mask has nothing above bit 15.
    return deny >> OBSTACLE_USER_KEYS != 0 && (Obstacles.key(Translation.key(t), t) & deny) != 0;
  }
}

/** log2 of the guest page that a TLB entry's rights tell of: 12, 21 or 30. */
export class Rights {
  @inline static guestShift(rights: u64): u64 {
    return 12 + 9 * ((rights >> ENTRY_GUEST_SIZE_SHIFT) & 3);
  }
  @inline static guestSize(rights: u64): u32 {
    return (<u32>(rights >> ENTRY_GUEST_SIZE_SHIFT)) & 3;
  }
}

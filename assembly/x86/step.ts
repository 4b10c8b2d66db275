// One step of a walk: what an entry of a level is, and what it may not be. The straight-line form and the loop form of
// the walk of every mode are made of these; mode and level fold where they are constants.

import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import {
  EPT_1G_RESERVED,
  EPT_2M_RESERVED,
  EPT_A,
  EPT_MEMTYPE,
  EPT_MEMTYPE_WB,
  EPT_PML4E_RESERVED,
  EPT_PS,
  EPT_R,
  EPT_TABLE_RESERVED,
  EPT_W,
  PTE_1G_RESERVED,
  PTE_2M_RESERVED,
  PTE_A,
  PTE_ADDRESS,
  PTE_P,
  PTE_PS,
} from "./bits";
import { Mode } from "./modes";

/** What an entry is to the walk that reads it. */
export enum Found {
  /** Not present. */
  Absent = 0,
  /** Present and without a meaning: a reserved bit, or in EPT rights or a memory type that are none. */
  Invalid = 1,
  /** Refers to a table. */
  Table = 2,
  /** Maps a page. */
  Page = 3,
}

export class Step {
  /**
   * The step. `present` are the bits of which a present entry has one (P; R, W and X of EPT), `common` those that are
   * reserved at every level.
   */
  @inline static find(mode: u32, level: u32, present: u64, common: u64, entry: u64): Found {
    if ((entry & present) == 0) return Found.Absent;
    const leaf = Step.isLeaf(mode, level, entry);
    if (entry & (common | Step.reserved(mode, level, leaf))) return Found.Invalid;
    if (Mode.ept(mode) && Step.misconfigured(leaf, entry)) return Found.Invalid;
    return leaf ? Found.Page : Found.Table;
  }
  /** True if the entry maps a page. The bit is the same in both formats. */
  @inline static isLeaf(mode: u32, level: u32, entry: u64): bool {
    return level == 1 || (level <= 3 && Mode.mayBeLeaf(mode, level) && (entry & PTE_PS) != 0);
  }
  /** Bits that must be zero in an entry of this level, beside those of every level. */
  @inline static reserved(mode: u32, level: u32, leaf: bool): u64 {
    if (Mode.ept(mode)) {
      if (level >= 4) return EPT_PML4E_RESERVED;
      if (level == 1) return 0;
      if (!leaf) return EPT_TABLE_RESERVED;
      if (level == 2) return EPT_2M_RESERVED;
      return EPT_1G_RESERVED | (Map.has(MachineOption.Page1GB) ? 0 : EPT_PS);
    }
    if (level >= 4) return PTE_PS;
    if (level == 1 || !leaf) return 0;
    if (level == 2) return PTE_2M_RESERVED;
    return PTE_1G_RESERVED | (Map.has(MachineOption.Page1GB) ? 0 : PTE_PS);
  }
  /**
   * The step of the fast form, one test: true if the entry is present, accessed (where that flag is kept), has no reserved
   * bit and, in a leaf of EPT, is write-back. `test` is the vCPU's word for the format (layout/cpu.ts).
   */
  @inline static plain(mode: u32, level: u32, leaf: bool, test: u64, entry: u64): bool {
    if (Mode.ept(mode)) {
      const type = leaf ? EPT_MEMTYPE : <u64>0;
      const want = (test & (EPT_R | EPT_A)) | (leaf ? EPT_MEMTYPE_WB : <u64>0);
      return (entry & (test | Step.reserved(mode, level, leaf) | type)) == want;
    }
    return (entry & (test | Step.reserved(mode, level, leaf))) == (PTE_P | PTE_A);
  }
  /** Physical address of the 4-KByte page that `address` falls into, in a leaf of `level`. */
  @inline static page(level: u32, entry: u64, address: u64): u64 {
    if (level == 1) return entry & PTE_ADDRESS;
    const span: u64 = ((<u64>1) << Mode.shift(level)) - 1;
    return (entry & PTE_ADDRESS & ~span) | (address & span & ~(<u64>0xfff));
  }
  /** True if an EPT entry allows reads. */
  @inline static readable(entry: u64): bool {
    return (entry & EPT_R) != 0;
  }
  /** True if the rights or the memory type of an EPT entry mean nothing (29.3.3.1). */
  @inline static misconfigured(leaf: bool, entry: u64): bool {
    if ((entry & (EPT_R | EPT_W)) == EPT_W) return true;
    if (!leaf) return false;
    const type = <u32>((entry & EPT_MEMTYPE) >> 3);
    return type == 2 || type == 3 || type == 7;
  }
}

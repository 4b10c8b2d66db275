/** What a scan finds: rows of six numbers, many at a time, and the same one by one as objects. */

import {
  SCAN_GAP,
  SCAN_NESTED_FAULT,
  SCAN_NESTED_GAP,
  SCAN_NESTED_RIGHTS_SHIFT,
  SCAN_NESTED_SHIFT_SHIFT,
  SCAN_ROW_SIZE,
  SCAN_SHIFT_SHIFT,
  SCAN_USER,
  SCAN_WRITABLE,
  SCAN_XD,
} from "../core/layout.generated.js";
import { type Gpa, type Gva, type Hpa } from "../machine/address.js";

/** Words of a row. */
export const MAPPING_WORDS = SCAN_ROW_SIZE / 8;

/** The columns of a row: `words[MAPPING_WORDS * i + MappingColumn.gpa]` is that of row `i`. */
export const MappingColumn = {
  /** First address, sign-extended. */
  gva: 0,
  /** Guest-physical address of the first byte. Of a gap: of the table that cannot be read. */
  gpa: 1,
  /** Host-physical address of the first byte: `gpa` without nested paging; all ones if there is none. */
  hpa: 2,
  /** Bytes. */
  length: 3,
  /** The entry that maps the first page; of a gap, the one that refers to the table. */
  entry: 4,
  /** `MappingBits`. */
  effective: 5,
} as const;

/** Bits of the column `effective`. */
export const MappingBits = {
  /** R/W is set on all levels. */
  writable: Number(SCAN_WRITABLE),
  /** U/S is set on all levels. */
  user: Number(SCAN_USER),
  /** XD is set on a level. */
  executeDisable: Number(SCAN_XD),
  /** The nested tables do not translate it, whatever the access. */
  nestedFault: Number(SCAN_NESTED_FAULT),
  /** The table that would map it cannot be read: it is missing from the memory, or (`nestedFault`) not mapped. */
  gap: Number(SCAN_GAP),
  /** A nested table that was needed is missing from the memory. */
  nestedGap: Number(SCAN_NESTED_GAP),
  /** Eight bits from here: log2 of what the guest's entry spans. */
  pageShift: Number(SCAN_SHIFT_SHIFT),
  /** Eight bits from here: log2 of what the nested entry spans; 0 without nested paging. */
  nestedShift: Number(SCAN_NESTED_SHIFT_SHIFT),
  /** Three bits from here: R, W and X of all nested levels. */
  nestedRights: Number(SCAN_NESTED_RIGHTS_SHIFT),
} as const;

/** Rows of a scan, in the order of addresses. It is the reader's own: nothing overwrites it. */
export interface MappingBlock {
  /** Rows, at least 1. */
  readonly count: number;
  /** Row after row, `MAPPING_WORDS` each. */
  readonly words: BigUint64Array;
  /** The same memory in halves, the lower first: for loops that shall not make BigInts. */
  readonly halves: Uint32Array;
}

/** One row in words. */
export interface Mapping {
  readonly gva: Gva;
  /** Guest-physical address of the first byte; without nested paging, physical. Of a gap: of the table. */
  readonly gpa: Gpa;
  /** Host-physical address of the first byte; null if there is none. */
  readonly hpa: Hpa | null;
  /** Bytes: several pages, if rows are folded. */
  readonly length: bigint;
  /** log2 of the size of the guest's page: 12, 21 or 30. Of a gap: of what its entry would span, up to 48. */
  readonly pageShift: number;
  /** The entry that maps the first page. */
  readonly entry: bigint;
  /** Rights of all the guest's levels. CR0.WP, SMEP, SMAP and keys are not in them: they depend on who asks. */
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
  /** A table that would map this cannot be read; nothing is known of what lies here. */
  readonly missingTable: boolean;
  /** The second dimension; null without one. */
  readonly nested: NestedMapping | null;
}

/** How the second dimension maps a row. */
export interface NestedMapping {
  /** log2 of the size of the nested page; 0 if there is none. */
  readonly pageShift: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  /** The nested tables do not map it: a violation, or a misconfiguration. */
  readonly fault: boolean;
  /** A nested table is missing from the memory. */
  readonly missingTable: boolean;
}

const NONE = 0xffff_ffff_ffff_ffffn;

function nestedOf(effective: number): NestedMapping {
  const rights = effective >>> MappingBits.nestedRights;
  return {
    pageShift: (effective >>> MappingBits.nestedShift) & 0xff,
    readable: (rights & 1) !== 0,
    writable: (rights & 2) !== 0,
    executable: (rights & 4) !== 0,
    fault: (effective & MappingBits.nestedFault) !== 0,
    missingTable: (effective & MappingBits.nestedGap) !== 0,
  };
}

/** Row `index` of a block as an object; `nested`: whether there is a second dimension. */
export function mappingOf(block: MappingBlock, index: number, nested: boolean): Mapping {
  const at = index * MAPPING_WORDS;
  const word = (column: number): bigint => block.words[at + column]!;
  const effective = block.halves[2 * (at + MappingColumn.effective)]!;
  const hpa = word(MappingColumn.hpa);
  return {
    gva: word(MappingColumn.gva) as Gva,
    gpa: word(MappingColumn.gpa) as Gpa,
    hpa: hpa === NONE ? null : (hpa as Hpa),
    length: word(MappingColumn.length),
    pageShift: (effective >>> MappingBits.pageShift) & 0xff,
    entry: word(MappingColumn.entry),
    writable: (effective & MappingBits.writable) !== 0,
    user: (effective & MappingBits.user) !== 0,
    executable: (effective & MappingBits.executeDisable) === 0,
    missingTable: (effective & MappingBits.gap) !== 0,
    nested: nested ? nestedOf(effective) : null,
  };
}

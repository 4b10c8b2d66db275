// A scan: the enumeration of what a root maps (x86/scan.ts). All of its state is in the actor's batch buffer, so that a
// host may copy it out between two calls and put it back:
//
//   0    SCAN     where the scan is, and the row that may still grow                     128 bytes
//   128  WANTED   physical addresses of pages to be put in windows                       8 bytes each
//   640  ROWS     what was found                                                         48 bytes each

@unmanaged
export class ScanRow {
  /** First address, sign-extended. */
  gva: u64;
  /** Where the guest's tables lead it: guest-physical below nested paging. Of a gap: the table that cannot be read. */
  gpa: u64;
  /** Host-physical address; equal to `gpa` without nested paging; all ones if there is none. */
  hpa: u64;
  /** Bytes. */
  length: u64;
  /** The guest's entry that maps the first page; of a gap, the one that refers to the table. */
  entry: u64;
  /** What all levels allow, and what is special: SCAN_* bits. */
  effective: u64;
}
export const SCAN_ROW_SIZE: u32 = 48;
if (offsetof<ScanRow>() != SCAN_ROW_SIZE) ERROR("a row of a scan must fill its place");

/** R/W of all levels. */
export const SCAN_WRITABLE: u64 = 1 << 0;
/** U/S of all levels. */
export const SCAN_USER: u64 = 1 << 1;
/** XD of any level. */
export const SCAN_XD: u64 = 1 << 2;
/** The nested tables do not translate it: a violation or a misconfiguration, whatever the access. */
export const SCAN_NESTED_FAULT: u64 = 1 << 3;
/** A gap: the table that would map these addresses cannot be read. */
export const SCAN_GAP: u64 = 1 << 4;
/** A nested table that was needed is missing from the memory. */
export const SCAN_NESTED_GAP: u64 = 1 << 5;
/** log2 of what the guest's entry spans: 12, 21 or 30; up to 48 for a gap. Eight bits from here. */
export const SCAN_SHIFT_SHIFT: u64 = 8;
/** log2 of what the nested entry spans, 0 without one. Eight bits from here. */
export const SCAN_NESTED_SHIFT_SHIFT: u64 = 16;
/** R, W and X of all nested levels. Three bits from here. */
export const SCAN_NESTED_RIGHTS_SHIFT: u64 = 24;

/** Which neighbours become one row. */
export enum Fold {
  /** None: a row a leaf, or, below nested paging, a row a piece that one guest leaf and one nested leaf map. */
  None = 0,
  /** Those of equal size, flags and rights whose physical addresses go on. */
  Physical = 1,
  /** Those of equal rights, whatever they map to. */
  Rights = 2,
}

/** How a call of `scanNext` ended. */
export enum ScanResult {
  /** The range is through: the rows written are the last. */
  Done = 0,
  /** There is more: the rows are as many as were allowed, or the call has looked at enough entries. */
  More = 1,
  /** The pages of WANTED are needed. Rows may have been written too. */
  Missing = 2,
}

@unmanaged
export class Scan {
  /** First address that has not been looked at. */
  next: u64;
  /** Last address of the range. */
  last: u64;
  /** Entries looked at so far, of all calls. */
  entries: u64;
  /** `ScanRow` that may still grow; its length is 0 if there is none. */
  gva: u64;
  gpa: u64;
  hpa: u64;
  length: u64;
  entry: u64;
  effective: u64;
  /** Entries that this call may still look at. */
  budget: i32;
  /** `Fold`. */
  fold: u32;
  /** 1 once the whole range has been looked at. */
  done: u32;
  /** Rows written by this call, and how many it may write. */
  rows: u32;
  rowMax: u32;
  /** Pages asked for by this call. */
  wanted: u32;
}
export const SCAN_NEXT: usize = offsetof<Scan>("next");
export const SCAN_OPEN_GVA: usize = offsetof<Scan>("gva");
export const SCAN_OPEN_LENGTH: usize = offsetof<Scan>("length");
export const SCAN_ENTRIES: usize = offsetof<Scan>("entries");
export const SCAN_ROW_COUNT: usize = offsetof<Scan>("rows");
export const SCAN_WANTED_COUNT: usize = offsetof<Scan>("wanted");
/** Bytes of the state that a host keeps between two calls. */
export const SCAN_SIZE: u32 = 128;
export const SCAN_WANTED: usize = 128;
export const SCAN_WANTED_MAX: u32 = 64;
export const SCAN_ROWS: usize = SCAN_WANTED + ((<usize>SCAN_WANTED_MAX) << 3);
/** Entries that one call looks at, about: a millisecond. */
export const SCAN_BUDGET: i32 = 1 << 18;
if (offsetof<Scan>() > SCAN_SIZE) ERROR("Scan must end before the pages that it asks for");

// The table cache of a vCPU that walks in windows (x86/tables.ts): for each 2 MiB of address, what the levels above the
// last have come to. Direct mapped, half of the rows for the guest's tables, half for the nested ones:
//
//   0  tag     address >> 21, plus 1; 0 is empty
//   8  rights  bits that all entries so far have set, and those that any has, as the mode accumulates them
//   16 entry   the leaf, if a large page covers these 2 MiB; else 0
//   24 host    address in this memory of the page table below, if there is no such leaf
//   28 level   of the leaf, 2 or 3; 1 with a page table
//
// A row is good as long as no window is dropped and no register is written that a walk depends on: both clear them all.

@unmanaged
export class TableRow {
  tag: u64;
  rights: u64;
  entry: u64;
  host: u32;
  level: u32;
}
export const TABLE_ROW_SHIFT: u32 = 5;
export const TABLE_TAG: usize = offsetof<TableRow>("tag");
export const TABLE_RIGHTS: usize = offsetof<TableRow>("rights");
export const TABLE_ENTRY: usize = offsetof<TableRow>("entry");
export const TABLE_HOST: usize = offsetof<TableRow>("host");
export const TABLE_LEVEL: usize = offsetof<TableRow>("level");
/** log2 of the address space that a row covers. */
export const TABLE_SPAN_SHIFT: u32 = 21;
if (offsetof<TableRow>() != (<usize>1) << TABLE_ROW_SHIFT)
  ERROR("a row of the table cache must fill its place");

// The paging-structure caches of a vCPU (SDM vol. 3A 4.10.3, vol. 3C 29.4.1), of the lab build in the architectural mode:
// what upper entries of the tables said, so that a walk may begin below them. One row, 32 bytes, direct mapped:
//
//    0 tag         the address, from the bits that the entry spans upwards; bit 3 guest-physical; 2:0 level of the entry
//    8 context     as in a TLB entry; of a guest-physical row the EP4TA alone
//   16 value       physical address of the table referred to; rights of all entries down to this one, at their places
//   24 host        address of that table in this memory
//   28 generation  valid while it is the vCPU's: `generation`, or of a guest-physical row `tablesGeneration`

@unmanaged
export class StructureRow {
  tag: u64;
  context: u64;
  value: u64;
  host: u32;
  generation: u32;
}
export const STRUCTURE_SHIFT: u32 = 5;
export const STRUCTURE_TAG: usize = offsetof<StructureRow>("tag");
export const STRUCTURE_CONTEXT: usize = offsetof<StructureRow>("context");
export const STRUCTURE_VALUE: usize = offsetof<StructureRow>("value");
export const STRUCTURE_HOST: usize = offsetof<StructureRow>("host");
export const STRUCTURE_GENERATION: usize = offsetof<StructureRow>("generation");
/** In a tag: the row is one of a guest-physical address. */
export const STRUCTURE_GUEST_PHYSICAL: u64 = 1 << 3;
export const STRUCTURE_LEVEL: u64 = 7;

if (offsetof<StructureRow>() != (<usize>1) << STRUCTURE_SHIFT) ERROR("a row must fill its place");

// The walk cache: where the pages that hold a guest's tables lie, so that a walk of both dimensions need not walk EPT for
// each of them. One row, 16 bytes, direct mapped by page number:
//
//   0 tag   guest-physical address of the page, and in the bits that it leaves free, 63:52 and 11:0, the pfn of the top
//           nested table (it lies in a frame, so 22 bits hold it) and how its tables are walked
//   8 host  address of the page in this memory       12 generation
//
// A row is a guest-physical translation (SDM vol. 3C 29.4.1): it bears the EP4TA, not VPID or PCID. It says that EPT lets the page be read as a table is read (with accessed and dirty flags: written, and both are
// set). It is valid while its generation is `Cpu.tablesGeneration`.

@unmanaged
export class WalkCacheEntry {
  tag: u64;
  host: u32;
  generation: u32;
}
/** Bits of a tag that name the top nested table, and how its tables are walked. */
export const WALK_CACHE_ROOT: u64 = 0xfff0_0000_0000_0fff;
/** Those that say how: bit 63 accessed and dirty flags of EPT, bit 62 its five levels. INVEPT does not ask for them. */
export const WALK_CACHE_FLAGS: u64 = 0xc000_0000_0000_0000;
export const WALK_CACHE_ENTRY_SHIFT: u32 = 4;
export const WALK_CACHE_TAG: usize = offsetof<WalkCacheEntry>("tag");
export const WALK_CACHE_HOST: usize = offsetof<WalkCacheEntry>("host");
export const WALK_CACHE_GENERATION: usize = offsetof<WalkCacheEntry>("generation");
if (offsetof<WalkCacheEntry>() != (<usize>1) << WALK_CACHE_ENTRY_SHIFT)
  ERROR("a row of the walk cache must fill its place");

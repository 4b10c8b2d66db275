// The walk cache: where the pages that hold a guest's tables lie, so that a walk of both dimensions need not walk EPT for
// each of them. One row, 16 bytes, direct mapped by page number:
//
//   0 tag   guest-physical page number        8 host   address of the page in this memory       12 generation
//
// A row says that EPT lets the page be read as a table is read (with accessed and dirty flags: written, and both are
// set). It is valid while its generation is `Cpu.keptGeneration`: until the next full flush.

@unmanaged
export class WalkCacheEntry {
  tag: u64;
  host: u32;
  generation: u32;
}
export const WALK_CACHE_ENTRY_SHIFT: u32 = 4;
export const WALK_CACHE_TAG: usize = offsetof<WalkCacheEntry>("tag");
export const WALK_CACHE_HOST: usize = offsetof<WalkCacheEntry>("host");
export const WALK_CACHE_GENERATION: usize = offsetof<WalkCacheEntry>("generation");
if (offsetof<WalkCacheEntry>() != (<usize>1) << WALK_CACHE_ENTRY_SHIFT)
  ERROR("a row of the walk cache must fill its place");

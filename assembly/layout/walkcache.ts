/** Row of the per-vCPU cache of guest-physical translations: a table page's gpa and where it is. */
@unmanaged
export class WalkCacheEntry {
  /** Guest-physical page address, bits 11:0 the low bits of the generation; 0 is empty. */
  tag: u64;
  host: u32;
  generation: u32;
}
export const WALK_CACHE_ENTRY_SHIFT: u32 = 4;
if (offsetof<WalkCacheEntry>() != <usize>1 << WALK_CACHE_ENTRY_SHIFT) ERROR("a row of the walk cache must fill its place");

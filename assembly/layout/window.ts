// The window table: copies of physical pages that lie anywhere in the 52-bit physical space, loaded on demand by the
// host. Rows first, then the pages: each row has one of its own.
//
//   WINDOWS   4096 bytes aligned
//     rows    16 B each: open addressing, linear probing
//     pages   4 KiB each

/** Row of the window table: which physical page a window holds. */
@unmanaged
export class Window {
  /** Physical page number + 1; 0 is empty. */
  key: u64;
  /** Address of the page's copy in this memory; 0 if the host has said that it has no such page. */
  host: u32;
  /** Row 0 only: windows in use. */
  used: u32;
}
export const WINDOW_ROW_SHIFT: u32 = 4;
export const WINDOW_KEY: usize = offsetof<Window>("key");
export const WINDOW_HOST: usize = offsetof<Window>("host");
export const WINDOW_USED: usize = offsetof<Window>("used");
if (offsetof<Window>() != (<usize>1) << WINDOW_ROW_SHIFT)
  ERROR("a row of the window table must fill its place");

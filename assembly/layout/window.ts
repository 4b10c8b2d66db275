/** Row of the window table: which physical page a window holds. Open addressing, linear probing. */
@unmanaged
export class Window {
  /** Physical page number + 1; 0 is empty. */
  key: u64;
  /** Address of the page's copy in this memory. */
  host: u32;
  /** `used` mark for replacement. */
  used: u32;
}
export const WINDOW_ROW_SHIFT: u32 = 4;
if (offsetof<Window>() != <usize>1 << WINDOW_ROW_SHIFT) ERROR("a row of the window table must fill its place");

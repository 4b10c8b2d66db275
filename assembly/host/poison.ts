// Poison (MachineOption.Poison): a freed frame is filled with a pattern, and the pattern is verified when the frame
// is handed out. A store through a stale translation is found even if nobody reads what it wrote.

import { Map, PAGE_SIZE } from "../layout/map";
import { PAGE_FLAGS, PageFlag } from "../layout/page";
import { Trap, trap } from "../trap";

const POISON_BYTE: u8 = 0xaa;
const POISON_WORD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/** Fills the frame of a page that is being freed. */
export function poisonFrame(page: usize): void {
  memory.fill(Map.frame(Map.pagePfn(page)), POISON_BYTE, PAGE_SIZE);
  store<u32>(page + PAGE_FLAGS, load<u32>(page + PAGE_FLAGS) | PageFlag.Poisoned);
}

/** Verifies the frame of a page that is being handed out; one that was never freed holds no poison. */
export function verifyPoison(page: usize, actor: usize): void {
  if ((load<u32>(page + PAGE_FLAGS) & PageFlag.Poisoned) == 0) return;
  const frame = Map.frame(Map.pagePfn(page));
  for (let at = frame, end = frame + PAGE_SIZE; at < end; at += 8) {
    if (load<u64>(at) != POISON_WORD) trap(Trap.PoisonOverwritten, at, actor);
  }
  store<u32>(page + PAGE_FLAGS, load<u32>(page + PAGE_FLAGS) & ~PageFlag.Poisoned);
}

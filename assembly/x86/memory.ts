// Memory policies: where the table that a walk reads lies. The fast forms are compiled for frames and ask nothing; the
// loop forms, which faults and flags take, are compiled once and ask at each reference.
//
//   Frames    physical memory is the frames region: a pfn is an index into it
//   Windows   physical pages lie anywhere; the window table holds copies, and a miss ends the walk with `Missing`
//
// Below EPT the guest's tables are guest-physical: each of their addresses goes through a nested walk first, of the same
// policy (x86/walk.ts).

import { Map, PAGE_SHIFT } from "../layout/map";
import { WINDOW_HOST, WINDOW_KEY, WINDOW_ROW_SHIFT, WINDOW_USED } from "../layout/window";

export enum Policy {
  Frames = 0,
  Windows = 1,
}

export class Memory {
  /** Bytes of physical memory, with the frames policy. */
  @inline static get limit(): u64 {
    return (<u64>Map.frameCount) << PAGE_SHIFT;
  }
  /** Where physical address `pa`, which is below `limit`, lies in this memory. */
  @inline static frame(pa: u64): usize {
    return Map.frame(0) + <usize>pa;
  }
  /** Where physical address `pa` lies in this memory; 0 if no frame or window holds it. */
  @inline static locate(policy: Policy, pa: u64): usize {
    if (policy == Policy.Windows) return findWindow(pa);
    return pa < Memory.limit ? Memory.frame(pa) : 0;
  }
}

/** Row at which the search for a page begins: its number, hashed and scaled without a division. */
function firstRow(pfn: u64): u32 {
  return <u32>((((pfn * 0x9e37_79b9_7f4a_7c15) >> 32) * Map.windowCount) >> 32);
}

/** Row that holds the page, or the empty one where it would go; 0 if there is neither. */
function findRow(pfn: u64): usize {
  const count = Map.windowCount;
  let index = firstRow(pfn);
  for (let i: u32 = 0; i < count; i++) {
    const row = Map.windows + ((<usize>index) << WINDOW_ROW_SHIFT);
    const key = load<u64>(row + WINDOW_KEY);
    if (key == 0 || key == pfn + 1) return row;
    if (++index == count) index = 0;
  }
  return 0;
}

/** Address of the copy of `pa`, 0 if there is none. */
export function findWindow(pa: u64): usize {
  const row = findRow(pa >> PAGE_SHIFT);
  if (row == 0 || load<u64>(row + WINDOW_KEY) == 0) return 0;
  const host: usize = load<u32>(row + WINDOW_HOST);
  return host ? host + ((<usize>pa) & 0xfff) : 0;
}

/** True if the host has said that it has no page for `pa`. */
export function isAbsent(pa: u64): bool {
  const row = findRow(pa >> PAGE_SHIFT);
  return row != 0 && load<u64>(row + WINDOW_KEY) != 0 && load<u32>(row + WINDOW_HOST) == 0;
}

/** Drops all windows: what was written to them is lost, unless the host has read it back. */
export function clearWindows(): void {
  if (Map.windowCount) memory.fill(Map.windows, 0, (<usize>Map.windowCount) << WINDOW_ROW_SHIFT);
  dropTableCaches();
}

function dropTableCaches(): void {
  for (let vcpu: u32 = 0; vcpu < Map.vcpuCount; vcpu++) clearTableCache(Map.actor(vcpu));
}

/** Empties the vCPU's cache of tables in windows: after a change of what its rows follow from. */
export function clearTableCache(vcpu: usize): void {
  if (Map.tableCacheSize) memory.fill(Map.tableCache(vcpu), 0, Map.tableCacheSize);
}

/**
 * The row of the page of `pa`, taken for it if it has none. Three quarters of the rows is all the table fills; then all
 * windows are dropped at once, so that no row ever has to be moved and a probe stays short.
 */
function takeRow(pa: u64): usize {
  const pfn = pa >> PAGE_SHIFT;
  const count = Map.windowCount;
  let row = findRow(pfn);
  if (row && load<u64>(row + WINDOW_KEY)) return row;
  if (row == 0 || load<u32>(Map.windows + WINDOW_USED) >= count - (count >> 2)) {
    clearWindows();
    row = findRow(pfn);
  }
  store<u64>(row + WINDOW_KEY, pfn + 1);
  store<u32>(row + WINDOW_HOST, 0);
  store<u32>(Map.windows + WINDOW_USED, load<u32>(Map.windows + WINDOW_USED) + 1);
  return row;
}

/** A window for the page of `pa`: the one that holds it, or a new one; 0 if there are no windows. */
export function putWindow(pa: u64): usize {
  if (Map.windowCount == 0) return 0;
  const row = takeRow(pa);
  let host: usize = load<u32>(row + WINDOW_HOST);
  if (host) return host;
  // Each row owns the page of its own number.
  host = windowPages() + (((row - Map.windows) >> WINDOW_ROW_SHIFT) << PAGE_SHIFT);
  store<u32>(row + WINDOW_HOST, <u32>host);
  return host;
}

/** Notes that the host has no page for `pa`, until the windows are dropped. A window that holds it is given up. */
export function markAbsent(pa: u64): void {
  if (Map.windowCount == 0) return;
  const row = takeRow(pa);
  if (load<u32>(row + WINDOW_HOST) == 0) return;
  store<u32>(row + WINDOW_HOST, 0);
  dropTableCaches();
}

/** First page of the window region: after the rows, page aligned. */
function windowPages(): usize {
  return (Map.windows + ((<usize>Map.windowCount) << WINDOW_ROW_SHIFT) + 0xfff) & ~0xfff;
}

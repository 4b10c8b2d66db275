// The books of the host: every reference and every mapping counted again from the tables, the files and the transfers.
// For a machine at rest: no other actor acts, and nobody holds or pins a page by gup.

import { Map } from "../layout/map";
import { FileKind } from "../layout/file";
import { DIO_MAX, DIO_PFNS, Dio, DioState, Dios, MM_PGD, ZONE_ORDERS } from "../layout/mm";
import {
  GUP_PIN_COUNTING_BIAS,
  PAGE_FLAGS,
  PAGE_MAPCOUNT,
  PAGE_MAPPING,
  PAGE_OWN,
  PAGE_PINCOUNT,
  PAGE_PREVIOUS,
  PAGE_REFCOUNT,
  PAGE_RMAP,
  PageFlag,
} from "../layout/page";
import { idleCount } from "./device";
import { Files } from "./file";
import { ForkRecord } from "./fork";
import { Zone, countBlocksLocked } from "./zone";
import { freeFrames } from "./pool";
import { headOf } from "./page";
import { HostEntry, PGD_SHIFT, PMD_SHIFT, PTE_SHIFT, PTE_SPECIAL } from "./tables";

/** Scratch word of the count, in pages that are in use and on no list: what the tables say of the page. */
class Tally {
  @inline static read(page: usize): u32 {
    return load<u32>(page + PAGE_PREVIOUS);
  }
  @inline static clear(page: usize): void {
    store<u32>(page + PAGE_PREVIOUS, 0);
  }
  @inline static add(page: usize): void {
    store<u32>(page + PAGE_PREVIOUS, load<u32>(page + PAGE_PREVIOUS) + 1);
  }
}

/** Another: references that are no mappings. */
class Others {
  @inline static read(page: usize): i32 {
    return load<i32>(page + PAGE_RMAP);
  }
  @inline static add(page: usize, references: i32): void {
    store<i32>(page + PAGE_RMAP, load<i32>(page + PAGE_RMAP) + references);
  }
  @inline static clear(page: usize): void {
    store<i32>(page + PAGE_RMAP, 0);
  }
}

/** Counts the references of the page cache. Returns how many words of files name a page that is not theirs. */
function tallyFiles(): u32 {
  let wrong: u32 = 0;
  for (let file: u32 = 1; file <= Map.fileMax; file++) {
    const kind = Files.kindOf(file);
    const row = Map.file(file);
    for (let index: u32 = 0; index < Map.filePages; index++) {
      const pfn = load<u32>(Files.slot(row, index));
      if (pfn == 0) continue;
      const page = Map.page(pfn);
      if (kind == FileKind.Cached) Others.add(page, 1);
      wrong += u32(load<u32>(page + PAGE_MAPPING) != file || index >= Files.pages(row));
    }
  }
  return wrong;
}

/** Counts the pins of direct I/O that is under way. */
function tallyTransfers(): void {
  for (let i: u32 = 0; i < DIO_MAX; i++) {
    const dio = changetype<Dio>(Dios.row(i));
    if (dio.state != DioState.Ready) continue;
    for (let n: u32 = 0; n < dio.pages; n++) {
      const page = headOf(Map.page(load<u32>(Dios.row(i) + DIO_PFNS + ((<usize>n) << 2))));
      const isLarge = (load<u32>(page + PAGE_FLAGS) & PageFlag.Head) != 0;
      Others.add(page, isLarge ? 1 : GUP_PIN_COUNTING_BIAS);
    }
  }
}

/** Counts what `table` and the tables below refer to. */
function tallyTable(table: u32, shift: u64): void {
  Tally.add(Map.page(table));
  for (let i: usize = 0; i < 512; i++) {
    const entry = HostEntry.read(Map.frame(table) + (i << 3));
    if (entry == 0 || (shift == PTE_SHIFT && entry & PTE_SPECIAL)) continue; // special: neither held nor counted
    if (shift >= PMD_SHIFT && HostEntry.isTable(entry)) {
      tallyTable(HostEntry.pfn(entry), shift - 9);
      continue;
    }
    const page = headOf(Map.page(HostEntry.pfn(entry)));
    Tally.add(page);
    if (shift != PMD_SHIFT) continue;
    const kept = load<u32>(page + PAGE_OWN); // the table kept for its split; hugetlb has none
    if (kept) Tally.add(Map.page(kept));
  }
}

/** Counts what the children of forks hold: their records are tables of their own. */
function tallyChildren(): void {
  for (let pfn: u32 = 1, count = Map.frameCount; pfn < count; pfn++) {
    if (!ForkRecord.is(pfn)) continue;
    Tally.add(Map.page(pfn));
    for (let i: u32 = 0, n = ForkRecord.count(pfn); i < n; i++) {
      const entry = ForkRecord.entry(pfn, i);
      if ((entry & PTE_SPECIAL) == 0) Tally.add(headOf(Map.page(HostEntry.pfn(entry))));
    }
  }
}

/** 1 if the counts of a page in use are not what the tables say. */
function isOff(page: usize, flags: u32, refcount: i32): u32 {
  const mapcount = load<i32>(page + PAGE_MAPCOUNT);
  const tally = <i32>Tally.read(page);
  // KVM keeps its own books of its tables, and uses mapcount of a root for them.
  if (flags & PageFlag.KvmTable) return u32(tally != 0);
  if (flags & PageFlag.HostTable) return u32(refcount != 1 || tally != 1 || mapcount != 0);
  const others = Others.read(page);
  if (flags & PageFlag.Zero) return u32(refcount != 1 + others || tally != 0 || mapcount != 0);
  // Of a compound page nothing but pins of transfers is counted as another reference.
  if (flags & PageFlag.Head && load<i32>(page + PAGE_PINCOUNT) != others) return 1;
  const idle = flags & PageFlag.ZoneDevice ? idleCount() : 0;
  return u32(refcount != idle + tally + others || mapcount != tally);
}

/** Not free. A page of a device is in use at any count. */
function isInUse(page: usize): bool {
  return load<i32>(page + PAGE_REFCOUNT) != 0 || (load<u32>(page + PAGE_FLAGS) & PageFlag.ZoneDevice) != 0;
}

/** Number of pages whose refcount or mapcount is wrong, plus the difference in free frames. 0 if the books balance. */
export function checkBalance(actor: usize, mm: usize): u32 {
  const count = Map.frameCount;
  for (let pfn: u32 = 1; pfn < count; pfn++) {
    if (isInUse(Map.page(pfn))) Tally.clear(Map.page(pfn));
  }
  let wrong = tallyFiles();
  tallyTransfers();
  const pgd = load<u32>(mm + MM_PGD);
  if (pgd) tallyTable(pgd, PGD_SHIFT);
  tallyChildren();
  let free: u32 = 0;
  for (let pfn: u32 = 1; pfn < count; pfn++) {
    const page = Map.page(pfn);
    const flags = load<u32>(page + PAGE_FLAGS);
    const refcount = load<i32>(page + PAGE_REFCOUNT);
    if (isInUse(page)) {
      wrong += isOff(page, flags, refcount);
      Tally.clear(page);
      Others.clear(page);
    } else if ((flags & (PageFlag.Tail | PageFlag.NotRefcounted)) == 0) {
      free++;
      wrong += u32(Others.read(page) != 0);
      Others.clear(page);
      wrong += u32(load<i32>(page + PAGE_MAPCOUNT) != 0);
    }
  }
  const known = freeFrames();
  wrong += free > known ? free - known : known - free;
  return wrong + u32(blockFrames(actor) != Zone.free);
}

/** Frames on the free lists, counted. */
function blockFrames(actor: usize): u32 {
  let n: u32 = 0;
  Zone.lock(actor);
  for (let order: u32 = 0; order < ZONE_ORDERS; order++) n += countBlocksLocked(order) << order;
  Zone.unlock(actor);
  return n;
}

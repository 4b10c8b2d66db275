// Maps: mappings other than plain anonymous ones, and what fork, copy-on-write and split do to pages.

import { Map } from "../layout/map";
import { MM_BASE, MM_ZERO_PFN } from "../layout/mm";
import { PAGE_FLAGS } from "../layout/page";
import { forkEntry, hostFork as fork, hostForkExit as forkExit } from "../host/fork";
import { vmaPageShift } from "../host/gup";
import { hostRemapPfn as remapPfn } from "../host/mm";
import { allocRaw, freeRaw } from "../host/raw";
import { hostSplitPage as splitPage } from "../host/split";
import { HostStatus } from "../host/status";
import { Ops, Order } from "../sync/ops";

/**
 * remap_pfn_range: maps pfns from `pfn` on, frames or not, at `hva`, or where there is room if it is 0; the entries allow
 * writes only if `writable` is not 0. Returns the address, or a `HostStatus` (below 65536).
 */
export function hostRemapPfn(actor: u32, hva: u64, length: u64, pfn: u32, flags: u32, writable: u32): u64 {
  return remapPfn(Map.actor(actor), MM_BASE, hva, length, pfn, flags, writable != 0);
}

/** 2^order frames, 0 to 10, that are no compound page: the first has one reference, the others none; 0 if there is no block. */
export function hostAllocRaw(actor: u32, order: u32): u32 {
  return allocRaw(Map.actor(actor), order);
}

/** Frees what hostAllocRaw returned for this order; the first frame stays with whoever else holds it. */
export function hostFreeRaw(actor: u32, pfn: u32, order: u32): void {
  freeRaw(Map.actor(actor), pfn, order);
}

/** pfn of the shared zero page; 0 if the machine has none. */
export function hostZeroPfn(): u32 {
  return load<u32>(MM_BASE + MM_ZERO_PFN);
}

/** log2 of the page size that the VMA at `hva` stands for (vma_kernel_pagesize): 21 for hugetlb, else 12; 0 without a VMA. */
export function hostVmaPageShift(actor: u32, hva: u64): u32 {
  return vmaPageShift(Map.actor(actor), MM_BASE, hva);
}

/** Splits the compound page at `hva` into single pages: Ok, Busy if somebody holds it, Invalid if there is none, NoVma. */
export function hostSplitPage(actor: u32, hva: u64): HostStatus {
  return splitPage(Map.actor(actor), MM_BASE, hva);
}

/** fork of the anonymous memory in the range: the child's handle in bits 31:0, `HostStatus` in 39:32. */
export function hostFork(actor: u32, hva: u64, length: u64): u64 {
  return fork(Map.actor(actor), MM_BASE, hva, length);
}

/** The child exits. Invalid if there is no such child. */
export function hostForkExit(actor: u32, child: u32): HostStatus {
  return forkExit(Map.actor(actor), child);
}

/** Entry of the child for the page at `hva`; 0 if it has none. */
export function hostForkPte(child: u32, hva: u64): u64 {
  return forkEntry(child, hva);
}

/** `PageFlag` bits of a page. */
export function hostPageFlags(pfn: u32): u32 {
  return Ops.load<u32>(Map.page(pfn) + PAGE_FLAGS, Order.Relaxed);
}

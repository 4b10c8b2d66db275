// The one memory map. Addresses grow down the page; each base is in the header, sizes follow from the configuration.
//
//   0          NULL         never touched, so that a null pointer has nothing to hit     4 KiB
//   4096       HEADER       identity, configuration, region bases, abort and trap        4 KiB
//   8192       KVM          struct kvm                                                   4 KiB
//   12288      MM           mm_struct and the zone                                       4 KiB
//              ACTORS       one block per vCPU, then per host thread                     8 KiB each
//              HISTOGRAMS   log-linear latency histogram per actor                      12 KiB each
//              SLOTS        two copies of the memslot array and of its hva index         2 * (64 + 48 B a slot)
//              VMAS         the VMA table                                               32 B each
//              FILES        devices, then files with their pages                         4 B a page, 0 without files
//              TLBS         4 KiB entries, then large entries, per vCPU                 32 B each
//              WALKCACHES   guest-physical translations of table pages, per vCPU        16 B each
//              TABLECACHES  upper levels of walks in windows, per vCPU, guest's then nested       2 * 32 B a row
//              STRUCTURES   paging-structure caches, per vCPU, where there are any      32 B each
//              BATCHES      buffers for the batch calls, per actor                      batchSize each
//              WINDOWS      window table: rows, then the pages they hold                16 B and 4 KiB each
//              PAGES        struct page array                                           64 B a frame
//              FRAMES       host physical memory                                         4 KiB a frame

import { ACTOR_SHIFT } from "./actor";
import { DEVICE_MAX, DEVICE_SHIFT, FILE_HEAD_SIZE } from "./file";
import { ABI_VERSION, HEADER_BASE, Header, MAGIC, REFCOUNT_LIMIT_DEFAULT } from "./header";
import { HISTOGRAM_SIZE } from "./histogram";
import { MM_BASE, MM_SIZE, VMA_SHIFT } from "./mm";
import { PAGE_STRUCT_SHIFT } from "./page";
import { SLOTS_HEAD_SIZE, SLOT_BY_HVA_SHIFT, SLOT_SHIFT } from "./slot";
import { TABLE_ROW_SHIFT } from "./tablecache";
import { TLB_ENTRY_SHIFT } from "./tlb";
import { STRUCTURE_SHIFT } from "./structures";
import { WALK_CACHE_ENTRY_SHIFT } from "./walkcache";
import { WINDOW_ROW_SHIFT } from "./window";

export const PAGE_SHIFT: u32 = 12;
export const PAGE_SIZE: u32 = 1 << PAGE_SHIFT;

/** The most memory a machine may take: 3.9 GiB, so that sizes and ends of regions fit 32 bits with room to spare. */
export const MACHINE_SIZE_MAX: u64 = 0xf9990000;

// Per-instance copies of the header, set by `attach` and constant afterwards.
let ACTORS: usize = 0;
let HISTOGRAMS: usize = 0;
let SLOTS: usize = 0;
let SLOT_COPY_SIZE: usize = 0;
let SLOT_MAX: u32 = 0;
let VMAS: usize = 0;
let VMA_MAX: u32 = 0;
let FILES: usize = 0;
let FILE_MAX: u32 = 0;
let FILE_PAGES: u32 = 0;
let FILE_SIZE: usize = 0;
let TLBS: usize = 0;
let TLB_SIZE: usize = 0;
let WALKCACHES: usize = 0;
let WALKCACHE_SIZE: usize = 0;
let TABLECACHES: usize = 0;
let TABLECACHE_SIZE: usize = 0;
let STRUCTURES: usize = 0;
let STRUCTURES_SIZE: usize = 0;
let BATCHES: usize = 0;
let BATCH_SIZE: u32 = 0;
let WINDOWS: usize = 0;
let WINDOW_COUNT: u32 = 0;
let PAGES: usize = 0;
let FRAMES: usize = 0;
let FRAME_COUNT: u32 = 0;
let VCPU_COUNT: u32 = 0;
let ACTOR_COUNT: u32 = 0;
let OPTIONS: u32 = 0;
let SPIN_LIMIT: u32 = 0;
let PREFETCH_GROUP: u32 = 0;
let REFCOUNT_LIMIT: i32 = 0;
let PFN_LIMIT: u64 = 0;

/** What `attach` found. */
export enum AttachResult {
  Ok = 0,
  /** No machine in this memory. */
  NoMachine = 1,
  /** A machine of another ABI version. */
  OtherVersion = 2,
}

function align(value: u64, size: u64): u64 {
  return (value + size - 1) & ~(size - 1);
}

function slotCopySize(slotMax: u32): u64 {
  return align(
    <u64>SLOTS_HEAD_SIZE + ((<u64>slotMax) << SLOT_SHIFT) + ((<u64>slotMax) << SLOT_BY_HVA_SHIFT),
    64,
  );
}

/** A file's head, then the pfns of its pages. */
function fileSize(pages: u32): u64 {
  return align(<u64>FILE_HEAD_SIZE + ((<u64>pages) << 2), 64);
}

function filesSize(h: Header): u64 {
  if (h.fileMax == 0) return 0;
  return ((<u64>DEVICE_MAX) << DEVICE_SHIFT) + <u64>h.fileMax * fileSize(h.filePages);
}

/**
 * Computes the region bases from the configuration words of the header and writes them beside those. Returns the
 * bytes of memory that the machine needs, or 0 if it would be larger than `MACHINE_SIZE_MAX`.
 */
export function planRegions(): u32 {
  const h = changetype<Header>(HEADER_BASE);
  const vcpus = <u64>h.vcpuCount;
  const actors = vcpus + <u64>h.hostCount;
  let at: u64 = <u64>MM_BASE + <u64>MM_SIZE;
  h.actorsBase = <u32>at;
  at += actors << ACTOR_SHIFT;
  h.histogramsBase = <u32>at;
  at += actors * HISTOGRAM_SIZE;
  h.slotsBase = <u32>at;
  at = align(at + 2 * slotCopySize(h.slotMax), 128);
  h.vmasBase = <u32>at;
  h.filesBase = <u32>(at = align(at + ((<u64>h.vmaMax) << VMA_SHIFT), 64));
  at = align(at + filesSize(h), 4096);
  h.tlbsBase = <u32>at;
  at += vcpus * ((<u64>h.tlbEntries + h.tlbLargeEntries) << TLB_ENTRY_SHIFT);
  h.walkCachesBase = <u32>(at = align(at, 4096));
  at += vcpus * ((<u64>h.walkCacheEntries) << WALK_CACHE_ENTRY_SHIFT);
  h.tableCachesBase = <u32>(at = align(at, 4096));
  at += vcpus * ((2 * <u64>h.tableCacheEntries) << TABLE_ROW_SHIFT);
  h.structuresBase = <u32>(at = align(at, 64));
  at += vcpus * ((<u64>h.structureEntries) << STRUCTURE_SHIFT);
  h.batchesBase = <u32>(at = align(at, 4096));
  at += actors * h.batchSize;
  h.windowsBase = <u32>(at = align(at, 4096));
  at = align(at + ((<u64>h.windowCount) << WINDOW_ROW_SHIFT), 4096) + ((<u64>h.windowCount) << PAGE_SHIFT);
  h.pagesBase = <u32>at;
  at += (<u64>h.frameCount) << PAGE_STRUCT_SHIFT;
  h.framesBase = <u32>(at = align(at, 4096));
  at += (<u64>h.frameCount) << PAGE_SHIFT;
  if (at > MACHINE_SIZE_MAX) return 0;
  h.size = <u32>at;
  return <u32>at;
}

/** Marks the header as that of a finished machine: the last step of `create`. */
export function sealHeader(): void {
  const h = changetype<Header>(HEADER_BASE);
  h.abiVersion = ABI_VERSION;
  h.magic = MAGIC;
}

/** Takes the region bases of the machine in this memory over into the instance. */
export function attachRegions(): void {
  const h = changetype<Header>(HEADER_BASE);
  ACTORS = h.actorsBase;
  HISTOGRAMS = h.histogramsBase;
  SLOTS = h.slotsBase;
  SLOT_MAX = h.slotMax;
  SLOT_COPY_SIZE = <usize>slotCopySize(h.slotMax);
  VMAS = h.vmasBase;
  VMA_MAX = h.vmaMax;
  FILES = h.filesBase;
  FILE_MAX = h.fileMax;
  FILE_PAGES = h.filePages;
  FILE_SIZE = <usize>fileSize(h.filePages);
  TLBS = h.tlbsBase;
  TLB_SIZE = (h.tlbEntries + h.tlbLargeEntries) << TLB_ENTRY_SHIFT;
  WALKCACHES = h.walkCachesBase;
  WALKCACHE_SIZE = h.walkCacheEntries << WALK_CACHE_ENTRY_SHIFT;
  TABLECACHES = h.tableCachesBase;
  TABLECACHE_SIZE = (2 * h.tableCacheEntries) << TABLE_ROW_SHIFT;
  STRUCTURES = h.structuresBase;
  STRUCTURES_SIZE = h.structureEntries << STRUCTURE_SHIFT;
  BATCHES = h.batchesBase;
  BATCH_SIZE = h.batchSize;
  WINDOWS = h.windowsBase;
  WINDOW_COUNT = h.windowCount;
  PAGES = h.pagesBase;
  FRAMES = h.framesBase;
  FRAME_COUNT = h.frameCount;
  VCPU_COUNT = h.vcpuCount;
  ACTOR_COUNT = h.vcpuCount + h.hostCount;
  OPTIONS = h.options;
  SPIN_LIMIT = h.spinLimit;
  PREFETCH_GROUP = h.prefetchGroup;
  REFCOUNT_LIMIT = h.refcountLimit ? h.refcountLimit : REFCOUNT_LIMIT_DEFAULT;
  // A pfn is 32 bits everywhere in the core, and the processor has maxphyaddr bits of address.
  PFN_LIMIT = min<u64>((<u64>1) << (h.maxphyaddr - PAGE_SHIFT), (<u64>1) << 32);
}

/** Checks the identity of the header. */
export function checkHeader(): AttachResult {
  const h = changetype<Header>(HEADER_BASE);
  if (h.magic != MAGIC) return AttachResult.NoMachine;
  return h.abiVersion == ABI_VERSION ? AttachResult.Ok : AttachResult.OtherVersion;
}

/** Addresses of the parts of the attached machine. */
export class Map {
  @inline static get frameCount(): u32 {
    return FRAME_COUNT;
  }
  @inline static get vcpuCount(): u32 {
    return VCPU_COUNT;
  }
  /** vCPUs and host threads. */
  @inline static get actorCount(): u32 {
    return ACTOR_COUNT;
  }
  @inline static get slotMax(): u32 {
    return SLOT_MAX;
  }
  @inline static get vmaMax(): u32 {
    return VMA_MAX;
  }
  /** Files that there may be; 0 in a machine that has neither files nor devices. */
  @inline static get fileMax(): u32 {
    return FILE_MAX;
  }
  /** Pages that a file may have. */
  @inline static get filePages(): u32 {
    return FILE_PAGES;
  }
  @inline static get batchSize(): u32 {
    return BATCH_SIZE;
  }
  /** How often a waiting actor looks at a word before it sleeps on it. */
  @inline static get spinLimit(): u32 {
    return SPIN_LIMIT;
  }
  /** SPTEs of a group that a fault fills, 0 for none. */
  @inline static get prefetchGroup(): u32 {
    return PREFETCH_GROUP;
  }
  /** A reference count that is not raised any more by a lookup. */
  @inline static get refcountLimit(): i32 {
    return REFCOUNT_LIMIT;
  }
  /** First pfn that no page-table entry can name. */
  @inline static get pfnLimit(): u64 {
    return PFN_LIMIT;
  }
  @inline static get windowCount(): u32 {
    return WINDOW_COUNT;
  }
  /** True if the machine was made with `option`, a `MachineOption`. */
  @inline static has(option: u32): bool {
    return (OPTIONS & option) != 0;
  }
  /** Block of the actor with this index. */
  @inline static actor(index: u32): usize {
    return ACTORS + ((<usize>index) << ACTOR_SHIFT);
  }
  /** Index of the actor with this block: vCPUs come first. */
  @inline static actorIndex(actor: usize): u32 {
    return <u32>((actor - ACTORS) >> ACTOR_SHIFT);
  }
  @inline static histogram(actor: usize): usize {
    return HISTOGRAMS + Map.actorIndex(actor) * HISTOGRAM_SIZE;
  }
  /** Copy 0 or 1 of the memslots: a `SlotsHead`, then the rows by gfn, then the index by hva. */
  @inline static slots(copy: u32): usize {
    return SLOTS + <usize>copy * SLOT_COPY_SIZE;
  }
  @inline static vma(index: u32): usize {
    return VMAS + ((<usize>index) << VMA_SHIFT);
  }
  /** dev_pagemap `device`, 1 to DEVICE_MAX. */
  @inline static device(device: u32): usize {
    return FILES + ((<usize>(device - 1)) << DEVICE_SHIFT);
  }
  /** Row of file `file`, 1 to `fileMax`: its head, then the pfns of its pages. */
  @inline static file(file: u32): usize {
    return FILES + ((<usize>DEVICE_MAX) << DEVICE_SHIFT) + <usize>(file - 1) * FILE_SIZE;
  }
  @inline static tlb(vcpu: usize): usize {
    return TLBS + <usize>Map.actorIndex(vcpu) * TLB_SIZE;
  }
  @inline static walkCache(vcpu: usize): usize {
    return WALKCACHES + <usize>Map.actorIndex(vcpu) * WALKCACHE_SIZE;
  }
  /** First row of the vCPU's table cache: the guest's half, then the nested one. */
  @inline static tableCache(vcpu: usize): usize {
    return TABLECACHES + <usize>Map.actorIndex(vcpu) * TABLECACHE_SIZE;
  }
  /** Bytes of a vCPU's table cache, 0 if it has none. */
  @inline static get tableCacheSize(): usize {
    return TABLECACHE_SIZE;
  }
  @inline static structures(vcpu: usize): usize {
    return STRUCTURES + <usize>Map.actorIndex(vcpu) * STRUCTURES_SIZE;
  }
  @inline static batch(actor: usize): usize {
    return BATCHES + Map.actorIndex(actor) * BATCH_SIZE;
  }
  @inline static get windows(): usize {
    return WINDOWS;
  }
  /** Address of frame `pfn`. The caller has checked that it is below `frameCount`. */
  @inline static frame(pfn: u32): usize {
    return FRAMES + ((<usize>pfn) << PAGE_SHIFT);
  }
  /** pfn of the frame that holds this address. */
  @inline static pfnOf(address: usize): u32 {
    return <u32>((address - FRAMES) >> PAGE_SHIFT);
  }
  /** struct page of frame `pfn`. */
  @inline static page(pfn: u32): usize {
    return PAGES + ((<usize>pfn) << PAGE_STRUCT_SHIFT);
  }
  /** pfn that a struct page describes. */
  @inline static pagePfn(page: usize): u32 {
    return <u32>((page - PAGES) >> PAGE_STRUCT_SHIFT);
  }
}

// struct page: one 64-byte line for every frame, alone in it, so that two frames never share a line.
//
//   0 refcount   4 mapcount   8 flags    12 pincount   16 order   20 head   24 mapping   28 lock
//  32 index              40 next   44 previous   48 pgmap   52 rmap   56 own       60 epoch

@unmanaged
export class Page {
  /** References held; 0 is free, or a tail page. Raised and dropped by anybody. */
  refcount: i32;
  /** Host page-table entries that map the page. */
  mapcount: i32;
  /** `PageFlag` bits. */
  flags: u32;
  /** FOLL_PIN pins of a large folio (an order-0 pin is 1024 references instead). */
  pincount: i32;
  /** On a head or free block: log2 of its frames. */
  order: u32;
  /** On a tail: pfn of the head. 0 on a head, a single page and a free frame, so that an empty machine is all zero. */
  head: u32;
  /** What the page belongs to: 0 anonymous, else a file. */
  mapping: u32;
  /** Spin lock of the page-table page in this frame (the split PTL). */
  lock: u32;
  /** Page offset within the mapping, or gfn that a table page translates from. */
  index: u64;
  /** Links of the one list that the page is on: free list, LRU or deferred free. pfns, 0 ends. */
  next: u32;
  previous: u32;
  /** dev_pagemap of a device page. */
  pgmap: u32;
  /** First reverse mapping. */
  rmap: u32;
  /** Owner's word: level of a table page, table kept for the split of a huge page, epoch of a deferred free. */
  own: u32;
  /** Times the frame has changed hands; a translation made in another epoch is stale. */
  epoch: u32;
}

/** References that a pin of a single page stands for, so that a count tells a pin from references. */
export const GUP_PIN_COUNTING_BIAS: i32 = 1024;

export const PAGE_STRUCT_SHIFT: u32 = 6;
export const PAGE_STRUCT_SIZE: u32 = 1 << PAGE_STRUCT_SHIFT;

export const PAGE_REFCOUNT: usize = offsetof<Page>("refcount");
export const PAGE_MAPCOUNT: usize = offsetof<Page>("mapcount");
export const PAGE_FLAGS: usize = offsetof<Page>("flags");
export const PAGE_PINCOUNT: usize = offsetof<Page>("pincount");
export const PAGE_ORDER: usize = offsetof<Page>("order");
export const PAGE_HEAD: usize = offsetof<Page>("head");
export const PAGE_MAPPING: usize = offsetof<Page>("mapping");
export const PAGE_LOCK: usize = offsetof<Page>("lock");
export const PAGE_INDEX: usize = offsetof<Page>("index");
export const PAGE_NEXT: usize = offsetof<Page>("next");
export const PAGE_PREVIOUS: usize = offsetof<Page>("previous");
export const PAGE_PGMAP: usize = offsetof<Page>("pgmap");
export const PAGE_RMAP: usize = offsetof<Page>("rmap");
export const PAGE_OWN: usize = offsetof<Page>("own");
export const PAGE_EPOCH: usize = offsetof<Page>("epoch");

/** Bits of `Page.flags`. */
export enum PageFlag {
  /** Free, and the first frame of a block of the buddy allocator. */
  Buddy = 1 << 0,
  /** Holds a host page table. */
  HostTable = 1 << 1,
  /** Holds a table of KVM's secondary MMU. */
  KvmTable = 1 << 2,
  /** First frame of a compound page. */
  Head = 1 << 3,
  /** Later frame of a compound page. */
  Tail = 1 << 4,
  /** Written through a mapping since it was last cleaned. */
  Dirty = 1 << 5,
  /** Found accessed since it was last aged. */
  Referenced = 1 << 6,
  /** Never handed out: the null frame. */
  Reserved = 1 << 7,
  /** Poisoned when it was freed: verified when it is handed out. */
  Poisoned = 1 << 8,
  /** Root of the secondary MMU that a memslot update has made obsolete (role.invalid). */
  RootInvalid = 1 << 10,
  /** Belongs to a device (is_zone_device_page). PG_reserved in the kernels that have Switch.ZoneDeviceReserved. */
  ZoneDevice = 1 << 11,
  /** The shared zero page. */
  Zero = 1 << 12,
  /** An anonymous page that one process maps alone (PageAnonExclusive). */
  AnonExclusive = 1 << 13,
  /** A page with a struct page that nobody refcounts: tail of a non-compound allocation, mapped with remap_pfn_range. */
  NotRefcounted = 1 << 14,
}

if (offsetof<Page>() != <usize>PAGE_STRUCT_SIZE) ERROR("struct page must fill its line");
if (PAGE_REFCOUNT % 4 != 0) ERROR("refcount must be aligned for 32-bit atomics");

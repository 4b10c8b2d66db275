// The host of the core (assembly/host), in C: frames, struct pages, VMAs, page tables, gup, MADV_DONTNEED. Compound pages
// and poison are left out: the questions use neither, and whatever would need them ends the program.
#pragma once

#include "locks.h"

#define MM (M + MM_BASE)
#define MMAP_LOCK ((struct rwlock *)(MM + MM_MMAP_LOCK))
#define PGD (AT(u32, MM + MM_PGD))

// --- zone: the buddy allocator ---

#define ZONE_LOCK_WORD ((u32 *)(M + ZONE_LOCK))
#define ZONE_FREE_WORD ((u32 *)(M + ZONE_FREE))
static inline u32 *list_head(u32 order) { return (u32 *)(M + ZONE_LISTS + (order << 2)); }

static void push_block(u32 pfn, u32 order) {
  struct page *p = page_at(pfn);
  u32 head = *list_head(order);
  p->flags |= PageFlag_Buddy;
  p->order = order;
  p->previous = 0;
  p->next = head;
  if (head) page_at(head)->previous = pfn;
  *list_head(order) = pfn;
}
static void unlink_block(u32 pfn, u32 order) {
  struct page *p = page_at(pfn);
  if (p->previous) page_at(p->previous)->next = p->next;
  else *list_head(order) = p->next;
  if (p->next) page_at(p->next)->previous = p->previous;
  p->flags &= ~PageFlag_Buddy;
  p->order = 0;
}
static void free_block_locked(u32 pfn, u32 order) {
  ensure((LOAD(&page_at(pfn)->flags) & PageFlag_Buddy) == 0, "double free");
  STORE(ZONE_FREE_WORD, LOAD(ZONE_FREE_WORD) + (1u << order));
  while (order < ZONE_ORDERS - 1) {
    u32 buddy = pfn ^ (1u << order);
    if (buddy + (1u << order) > FRAME_COUNT) break;
    struct page *b = page_at(buddy);
    if ((LOAD(&b->flags) & PageFlag_Buddy) == 0 || b->order != order) break;
    unlink_block(buddy, order);
    pfn &= ~(1u << order);
    order++;
  }
  push_block(pfn, order);
}
static u32 take_block_locked(u32 order) {
  u32 found = order;
  while (found < ZONE_ORDERS && *list_head(found) == 0) found++;
  if (found == ZONE_ORDERS) return 0;
  u32 pfn = *list_head(found);
  unlink_block(pfn, found);
  while (found > order) {
    found--;
    push_block(pfn + (1u << found), found);
  }
  STORE(ZONE_FREE_WORD, LOAD(ZONE_FREE_WORD) - (1u << order));
  return pfn;
}
static u32 take_up_to_locked(u32 order) {
  for (i32 o = (i32)order; o >= 0; o--) {
    u32 pfn = *list_head((u32)o);
    if (pfn == 0) continue;
    unlink_block(pfn, (u32)o);
    STORE(ZONE_FREE_WORD, LOAD(ZONE_FREE_WORD) - (1u << o));
    return (pfn << 4) | (u32)o;
  }
  u32 pfn = take_block_locked(order);
  return pfn ? (pfn << 4) | order : 0;
}

// --- pool: an actor's own frames ---

static inline u32 *ready_word(char *actor, u32 i) { return (u32 *)(actor + POOL_READY + (i << 2)); }
static inline u32 ready_take(char *actor, u32 i) { return SWAP(ready_word(actor, i), 0u, ACQUIRE); }
static inline void ready_put(char *actor, u32 i, u32 pfn) { STORE_RELEASE(ready_word(actor, i), pfn); }

static __attribute__((noinline)) u32 refill(char *actor) {
  count(actor, Stat_PoolRefills, 1);
  spin_lock(ZONE_LOCK_WORD, actor);
  u32 n = 0;
  while (n < POOL_BATCH) {
    u32 block = take_up_to_locked(31 - (u32)__builtin_clz(POOL_BATCH - n));
    if (block == 0) break;
    u32 first = block >> 4;
    for (u32 i = 1u << (block & 15); i > 0; i--) ready_put(actor, n++, first + i - 1);
  }
  if (n == 0) die("out of frames: stealing is not in this twin");
  u32 pfn = ready_take(actor, --n);
  AT(u32, actor + POOL_READY_COUNT) = n;
  spin_unlock(ZONE_LOCK_WORD, actor);
  return pfn;
}
static inline u32 alloc_references(char *actor, i32 references) {
  u32 n = AT(u32, actor + POOL_READY_COUNT), pfn = 0;
  while (n && pfn == 0) pfn = ready_take(actor, --n);
  AT(u32, actor + POOL_READY_COUNT) = n;
  if (pfn == 0) pfn = refill(actor);
  struct page *p = page_at(pfn);
  ensure(LOAD(&p->refcount) == 0, "allocation of a page in use");
  p->refcount = references;
  return pfn;
}
static u32 alloc_zeroed(char *actor) {
  u32 pfn = alloc_references(actor, 1);
  memset(frame_at(pfn), 0, PAGE_SIZE);
  return pfn;
}
static __attribute__((noinline)) void drain_batch(char *actor) {
  count(actor, Stat_PoolRefills, 1);
  u32 n = AT(u32, actor + POOL_READY_COUNT);
  spin_lock(ZONE_LOCK_WORD, actor);
  for (u32 i = 0; i < POOL_BATCH; i++) {
    u32 pfn = ready_take(actor, --n);
    if (pfn) free_block_locked(pfn, 0);
  }
  spin_unlock(ZONE_LOCK_WORD, actor);
  AT(u32, actor + POOL_READY_COUNT) = n;
}
static inline void free_frame(struct page *p, char *actor) {
  p->epoch++;
  p->flags = 0;
  if (AT(u32, actor + POOL_READY_COUNT) == POOL_READY_MAX) drain_batch(actor);
  u32 n = AT(u32, actor + POOL_READY_COUNT);
  ready_put(actor, n, pfn_of_page(p));
  AT(u32, actor + POOL_READY_COUNT) = n + 1;
}
static inline int top_up_tables(char *actor, u32 n) {
  u32 have = AT(u32, actor + POOL_TABLE_COUNT);
  while (have < n) {
    u32 pfn = alloc_zeroed(actor);
    page_at(pfn)->flags = PageFlag_KvmTable;
    AT(u32, actor + POOL_TABLES + (have << 2)) = pfn;
    AT(u32, actor + POOL_TABLE_COUNT) = ++have;
  }
  return 1;
}
static inline u32 take_table(char *actor) {
  u32 n = AT(u32, actor + POOL_TABLE_COUNT);
  ensure(n != 0, "the table cache is empty");
  AT(u32, actor + POOL_TABLE_COUNT) = n - 1;
  return AT(u32, actor + POOL_TABLES + ((n - 1) << 2));
}
static void give_table(char *actor, u32 pfn) {
  u32 n = AT(u32, actor + POOL_TABLE_COUNT);
  ensure(n < POOL_TABLES_MAX, "the table cache is full");
  page_at(pfn)->flags = PageFlag_KvmTable;
  AT(u32, actor + POOL_TABLES + (n << 2)) = pfn;
  AT(u32, actor + POOL_TABLE_COUNT) = n + 1;
}

// --- struct page references ---

#define REFCOUNT_LIMIT 0x7fff0000
static inline struct page *head_of(struct page *p) {
  u32 head = LOAD(&p->head);
  return head ? page_at(head) : p;
}
static inline void get_page(struct page *p) {
  i32 old = ADD(&head_of(p)->refcount, 1, NONE);
  ensure(old > 0, "get of a free page");
}
static inline int try_get_page(struct page *p) {
  i32 seen = LOAD(&p->refcount);
  while (seen > 0 && seen < REFCOUNT_LIMIT) {
    i32 found = CAS(&p->refcount, seen, seen + 1, FULL);
    if (found == seen) return 1;
    seen = found;
  }
  return 0;
}
static inline void put_page(struct page *p, char *actor) {
  struct page *head = head_of(p);
  i32 old = SUB(&head->refcount, 1, FULL);
  ensure(old > 0, "refcount underflow");
  if (old != 1) return;
  if (LOAD_ACQUIRE(&head->flags) & PageFlag_Head) die("compound pages are not in this twin");
  free_frame(head, actor);
}

// --- host page tables ---

#define PGD_SHIFT 39
#define PUD_SHIFT 30
#define PMD_SHIFT 21
#define PTE_SHIFT 12
#define TABLE_BITS (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)

static inline u64 *host_entry(u32 table, u64 hva, u32 shift) {
  return (u64 *)(frame_at(table) + ((hva >> (shift - 3)) & 0xff8));
}
static inline int is_table(u64 e) { return (e & (PTE_P | PTE_PS)) == PTE_P; }
static inline u32 entry_pfn(u64 e) { return (u32)(e >> 12); }
static inline u32 *ptl_of(u64 *slot) { return &page_at(pfn_of(slot))->lock; }

static inline u64 *pmd_slot(u64 hva) {
  u64 pgd = LOAD(host_entry(PGD, hva, PGD_SHIFT));
  if (pgd == 0) return 0;
  u64 pud = LOAD(host_entry(entry_pfn(pgd), hva, PUD_SHIFT));
  if (pud == 0) return 0;
  return host_entry(entry_pfn(pud), hva, PMD_SHIFT);
}
static __attribute__((noinline)) void link_host_table(char *actor, u64 *slot, u32 level) {
  u32 pfn = alloc_zeroed(actor);
  struct page *p = page_at(pfn);
  p->flags = PageFlag_HostTable;
  p->own = level;
  p->lock = 0;
  if (CAS(slot, 0ull, ((u64)pfn << 12) | TABLE_BITS, FULL) != 0) put_page(p, actor);
}
static u64 *pmd_slot_alloc(char *actor, u64 hva) {
  u64 *pgd = host_entry(PGD, hva, PGD_SHIFT);
  if (LOAD(pgd) == 0) link_host_table(actor, pgd, 3);
  u64 *pud = host_entry(entry_pfn(LOAD(pgd)), hva, PUD_SHIFT);
  if (LOAD(pud) == 0) link_host_table(actor, pud, 2);
  return host_entry(entry_pfn(LOAD(pud)), hva, PMD_SHIFT);
}

// --- VMAs ---

struct vma {
  u64 start, end;
  u32 flags, page_shift;
};
_Static_assert(sizeof(struct vma) <= 1 << VMA_SHIFT, "a VMA is not the core's");
static inline struct vma *vma_at(u32 i) { return (struct vma *)(VMAS + ((u64)i << VMA_SHIFT)); }
static u32 first_ending_above(u64 hva) {
  u32 low = 0, high = AT(u32, MM + MM_VMA_COUNT);
  while (low < high) {
    u32 middle = (low + high) >> 1;
    if (vma_at(middle)->end > hva) high = middle;
    else low = middle + 1;
  }
  return low;
}
static inline struct vma *find_vma(char *actor, u64 hva) {
  u32 n = AT(u32, MM + MM_VMA_COUNT), hint = AT(u32, actor + POOL_VMA_HINT);
  if (hint < n) {
    struct vma *v = vma_at(hint);
    if (hva >= v->start && hva < v->end) return v;
  }
  u32 i = first_ending_above(hva);
  if (i == n || vma_at(i)->start > hva) return 0;
  AT(u32, actor + POOL_VMA_HINT) = i;
  return vma_at(i);
}
static int is_covered(u64 start, u64 end) {
  u32 n = AT(u32, MM + MM_VMA_COUNT);
  u64 at = start;
  for (u32 i = first_ending_above(start); at < end; i++) {
    if (i == n || vma_at(i)->start > at) return 0;
    at = vma_at(i)->end;
  }
  return 1;
}

// --- faults and gup: a page looked up is pfn | status << 32 | writable << 40 ---

#define AGAIN (~0ull)
static inline u64 gup_found(u32 pfn, int writable) { return (u64)pfn | ((u64)(writable != 0) << 40); }
static inline u64 gup_failed(u32 status) { return (u64)status << 32; }
static inline u32 gup_status(u64 r) { return (u32)(r >> 32) & 0xff; }

static inline u64 protection_of(u32 flags, int write) {
  u64 bits = PTE_P | PTE_US | PTE_A;
  if (flags & VmaFlag_Write) bits |= PTE_RW;
  if (write) bits |= PTE_D;
  if ((flags & VmaFlag_Exec) == 0) bits |= PTE_XD;
  return bits;
}
static u64 use_leaf(char *actor, u64 *slot, int write, i32 references) {
  u32 *lock = ptl_of(slot);
  spin_lock(lock, actor);
  u64 e = LOAD(slot);
  if (e == 0 || (page_at(pfn_of(slot))->own == 2 && is_table(e))) {
    spin_unlock(lock, actor);
    return AGAIN;
  }
  if (write && (e & PTE_RW) == 0) {
    e = OR(slot, PTE_RW | PTE_D | PTE_A, NONE) | PTE_RW;
    count(actor, Stat_HostFaults, 1);
  }
  u32 pfn = entry_pfn(e);
  if (references) get_page(page_at(pfn));
  spin_unlock(lock, actor);
  return gup_found(pfn, (e & PTE_RW) != 0);
}
static inline u64 install_page(char *actor, u64 *slot, u32 flags, int write, i32 references) {
  u32 pfn = alloc_references(actor, 1 + references);
  if (has(MachineOption_ZeroPages)) memset(frame_at(pfn), 0, PAGE_SIZE);
  u32 *lock = ptl_of(slot);
  struct page *p = page_at(pfn);
  spin_lock(lock, actor);
  if (LOAD(slot) != 0) {
    spin_unlock(lock, actor);
    for (i32 i = -1; i < references; i++) put_page(p, actor);
    return AGAIN;
  }
  p->mapcount = 1;
  p->flags = PageFlag_AnonExclusive;
  STORE_RELEASE(slot, ((u64)pfn << 12) | protection_of(flags, write));
  spin_unlock(lock, actor);
  count(actor, Stat_HostFaults, 1);
  return gup_found(pfn, (flags & VmaFlag_Write) != 0);
}
static u64 fault_in_locked(char *actor, u64 hva, int write, i32 references) {
  struct vma *v = find_vma(actor, hva);
  if (v == 0) return gup_failed(HostStatus_NoVma);
  if ((v->flags & (write ? VmaFlag_Write : VmaFlag_Read)) == 0) return gup_failed(HostStatus_Access);
  u64 *pmd = pmd_slot_alloc(actor, hva);
  for (;;) {
    u64 e = LOAD(pmd), result = AGAIN;
    if (likely(is_table(e))) {
      u64 *slot = host_entry(entry_pfn(e), hva, PTE_SHIFT);
      result = LOAD(slot) ? use_leaf(actor, slot, write, references)
                          : install_page(actor, slot, v->flags, write, references);
    } else if (e || v->page_shift != PTE_SHIFT) {
      die("2 MiB host pages are not in this twin");
    } else if (LOAD(pmd) == 0) {
      link_host_table(actor, pmd, 1);
    }
    if (result != AGAIN) return result;
  }
}
static u32 gup_fast_inside(char *actor, u64 hva, int write) {
  u64 *pmd = pmd_slot(hva);
  if (pmd == 0) return 0;
  u64 pmd_entry = LOAD(pmd);
  u64 *slot = pmd;
  u64 e = pmd_entry;
  u32 offset = 0;
  if (is_table(pmd_entry)) {
    slot = host_entry(entry_pfn(pmd_entry), hva, PTE_SHIFT);
    e = LOAD(slot);
  } else {
    offset = (u32)(hva >> PTE_SHIFT) & 511;
  }
  u64 need = PTE_P | PTE_US | (write ? PTE_RW : 0);
  if ((e & need) != need) return 0;
  u32 pfn = entry_pfn(e) + offset;
  struct page *p = page_at(pfn), *head = head_of(p);
  if (!try_get_page(head)) return 0;
  if (LOAD(slot) != e || LOAD(pmd) != pmd_entry || head_of(p) != head) {
    put_page(head, actor);
    return 0;
  }
  return pfn;
}
static u32 gup_fast(char *actor, u64 hva, int write) {
  if (hva >= MM_TASK_SIZE) return 0;
  rcu_lock(actor);
  u32 pfn = gup_fast_inside(actor, hva, write);
  rcu_unlock(actor);
  if (pfn) count(actor, Stat_GupFast, 1);
  return pfn;
}
static u64 gup_slow(char *actor, u64 hva, int write) {
  if (hva >= MM_TASK_SIZE) return gup_failed(HostStatus_NoVma);
  count(actor, Stat_GupSlow, 1);
  read_lock(MMAP_LOCK, GRACE_MMAP_READER, actor);
  u64 result = fault_in_locked(actor, hva, write, 1);
  read_unlock(MMAP_LOCK, GRACE_MMAP_READER, actor);
  return result;
}
static inline u64 gup(char *actor, u64 hva, int write) {
  if (write) {
    u32 pfn = gup_fast(actor, hva, 1);
    if (pfn) return gup_found(pfn, 1);
  }
  return gup_slow(actor, hva, write);
}

// --- MADV_DONTNEED: start, clear, flush, put, end ---

static void invalidate_start(char *actor, u64 start, u64 end);
static void invalidate_end(char *actor, u64 start, u64 end);

static inline u64 next_entry(u64 at, u32 shift) { return ((at >> shift) + 1) << shift; }
static u64 next_mapped(u64 at, u64 end) {
  while (at < end) {
    u64 pgd = LOAD(host_entry(PGD, at, PGD_SHIFT));
    if (pgd == 0) {
      at = next_entry(at, PGD_SHIFT);
      continue;
    }
    u64 pud = LOAD(host_entry(entry_pfn(pgd), at, PUD_SHIFT));
    if (pud == 0) {
      at = next_entry(at, PUD_SHIFT);
      continue;
    }
    if (LOAD(host_entry(entry_pfn(pud), at, PMD_SHIFT))) return at;
    at = next_entry(at, PMD_SHIFT);
  }
  return at;
}
static inline u32 *gather_count(char *actor) { return (u32 *)(actor + POOL_GATHER_COUNT); }
static u64 zap_ptes(char *actor, u32 table, u64 at, u64 end) {
  u32 *lock = &page_at(table)->lock;
  spin_lock(lock, actor);
  while (at < end && *gather_count(actor) != GATHER_MAX) {
    u64 *slot = host_entry(table, at, PTE_SHIFT);
    at += PAGE_SIZE;
    if (LOAD(slot) == 0) continue;
    u32 pfn = entry_pfn(SWAP(slot, 0ull, FULL));
    i32 old = SUB(&head_of(page_at(pfn))->mapcount, 1, NONE);
    ensure(old > 0, "mapcount underflow");
    u32 n = *gather_count(actor);
    AT(u32, actor + GATHER_PFNS + (n << 2)) = pfn;
    *gather_count(actor) = n + 1;
  }
  spin_unlock(lock, actor);
  return at;
}
static void release_gathered(char *actor) {
  u32 n = *gather_count(actor);
  if (n == 0) return;
  ADD((u64 *)(MM + MM_TLB_FLUSHES), 1ull, FULL);
  for (u32 i = 0; i < n; i++) put_page(page_at(AT(u32, actor + GATHER_PFNS + (i << 2))), actor);
  *gather_count(actor) = 0;
  count(actor, Stat_HostUnmaps, n);
}
static void zap_range(char *actor, u64 start, u64 end) {
  for (u64 at = next_mapped(start, end); at < end; at = next_mapped(at, end)) {
    u64 *slot = pmd_slot(at);
    u64 next = next_entry(at, PMD_SHIFT);
    if (next > end) next = end;
    u64 e = LOAD(slot);
    if (!is_table(e)) die("2 MiB host pages are not in this twin");
    at = zap_ptes(actor, entry_pfn(e), at, next);
    if (*gather_count(actor) == GATHER_MAX) release_gathered(actor);
  }
}
static void host_dontneed(char *actor, u64 hva, u64 length) {
  u64 end = hva + length;
  if (((hva | length) & (PAGE_SIZE - 1)) != 0 || length == 0) die("not a range of pages");
  read_lock(MMAP_LOCK, GRACE_MMAP_READER, actor);
  if (!is_covered(hva, end)) die("no VMA");
  // One notifier of four places is registered: dispatch looks at them all, twice.
  for (u32 i = 0; i < MM_NOTIFIER_SLOTS; i++) {
    if ((LOAD_ACQUIRE((u32 *)(MM + MM_NOTIFIERS + i * 4)) & 0xff) == Notifier_Kvm) invalidate_start(actor, hva, end);
  }
  zap_range(actor, hva, end);
  release_gathered(actor);
  for (u32 i = 0; i < MM_NOTIFIER_SLOTS; i++) {
    if ((LOAD_ACQUIRE((u32 *)(MM + MM_NOTIFIERS + i * 4)) & 0xff) == Notifier_Kvm) invalidate_end(actor, hva, end);
  }
  read_unlock(MMAP_LOCK, GRACE_MMAP_READER, actor);
}

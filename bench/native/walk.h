// The walks and the TLB of the core (assembly/x86), in C: same tables, same tests, same order of them. Of nested tables it has
// EPT as KVM uses it: four levels, no mode-based execute control, no log, no advanced information.
#pragma once

#include "machine.h"

// Kinds of access: bit 0 says that it is checked as a write.
static inline int is_write(u32 access) { return access & 1; }
static inline u32 nested_rights(u32 access) {
  if (access == Access_Fetch) return EPT_VIOLATION_FETCH;
  if (access == Access_Modify) return EPT_VIOLATION_READ | EPT_VIOLATION_WRITE;
  return is_write(access) ? EPT_VIOLATION_WRITE : EPT_VIOLATION_READ;
}
static inline u64 deny_of(char *vcpu, u32 access) { return AT(u64, vcpu + CPU_DENY + (access << 3)); }

#define OBSTACLES 0x7ffull
#define EPT_RIGHTS_SHIFT 5
#define SIZE_SHIFT 52
#define GUEST_SIZE_SHIFT 54
#define VALID (1ull << 58)
#define KEY (15ull << 59)

static inline u64 ordinary_obstacles(u64 all, u64 any, u64 leaf) {
  return ((~all & (PTE_RW | PTE_US)) >> 1) | ((any & PTE_XD) >> 61) | ((all & PTE_US) << 1) | ((~leaf & PTE_D) >> 2) |
         ((leaf & PTE_G) << 1);
}
static inline u64 nested_obstacles(u64 all, u64 leaf) {
  return ((~all & 7) << EPT_RIGHTS_SHIFT) | ((~leaf >> 1) & OBSTACLE_EPT_CLEAN);
}
static inline u64 key_obstacle(u64 key, u64 obstacles) {
  return (1ull << (OBSTACLE_USER_KEYS + key)) << ((obstacles & OBSTACLE_SUPERVISOR) << 3);
}
static inline u64 make(u64 pa, u64 obstacles, u64 size, u64 leaf) {
  return pa | obstacles | (size << SIZE_SHIFT) | (size << GUEST_SIZE_SHIFT) | VALID | (leaf & KEY);
}
static inline u64 combine(u64 guest, u64 nested) {
  u64 a = guest & (3ull << SIZE_SHIFT), b = nested & (3ull << SIZE_SHIFT);
  return (guest & ~(PTE_ADDRESS | (3ull << SIZE_SHIFT))) | (nested & (PTE_ADDRESS | OBSTACLES)) | (a < b ? a : b);
}
static inline int denies(u64 t, u64 deny) {
  if (t & OBSTACLES & deny) return 1;
  return deny >> OBSTACLE_USER_KEYS != 0 && (key_obstacle((t >> PTE_KEY_SHIFT) & 15, t) & deny) != 0;
}
static inline u64 page_of(u64 t) { return t & PTE_ADDRESS; }
static inline u64 rights_of(u64 t) {
  u64 o = t & OBSTACLES;
  return o | key_obstacle((t >> PTE_KEY_SHIFT) & 15, o) | (((t >> GUEST_SIZE_SHIFT) & 3) << 12);
}

static inline u64 offset_of(u32 level, u64 address) { return (address >> (9 * level)) & 0xff8; }
static inline int canonical(u64 address) { return (u64)((i64)(address << 16) >> 16) == address; }

// Bits that must be zero in an entry of the level, and the address of the page that a leaf maps.
static inline u64 guest_reserved(u32 level, int leaf) {
  if (level >= 4) return PTE_PS;
  if (level == 1 || !leaf) return 0;
  if (level == 2) return PTE_2M_RESERVED;
  return PTE_1G_RESERVED | (has(MachineOption_Page1GB) ? 0 : PTE_PS);
}
static inline u64 ept_reserved(u32 level, int leaf) {
  if (level >= 4) return EPT_PML4E_RESERVED;
  if (level == 1) return 0;
  if (!leaf) return EPT_TABLE_RESERVED;
  if (level == 2) return EPT_2M_RESERVED;
  return EPT_1G_RESERVED | (has(MachineOption_Page1GB) ? 0 : EPT_PS);
}
static inline int guest_plain(u32 level, int leaf, u64 test, u64 e) {
  return (e & (test | guest_reserved(level, leaf))) == (PTE_P | PTE_A);
}
static inline int ept_plain(u32 level, int leaf, u64 test, u64 e) {
  u64 type = leaf ? EPT_MEMTYPE : 0;
  u64 want = (test & (EPT_R | EPT_A)) | (leaf ? EPT_MEMTYPE_WB : 0);
  return (e & (test | ept_reserved(level, leaf) | type)) == want;
}
static inline int is_leaf(u32 level, u64 e) { return level == 1 || (level <= 3 && (e & PTE_PS) != 0); }
static inline u64 leaf_page(u32 level, u64 e, u64 address) {
  if (level == 1) return e & PTE_ADDRESS;
  u64 span = (1ull << (3 + 9 * level)) - 1;
  return (e & PTE_ADDRESS & ~span) | (address & span & ~0xfffull);
}

static inline u64 entry_at(char *table, u32 level, u64 address) { return LOAD((u64 *)(table + offset_of(level, address))); }

// Ordinary walk, 4 levels, tables in frames, no EPT. 0: not plain.
static inline u64 guest_fast_leaf(u32 level, char *vcpu, u32 access, u64 test, u64 limit, u64 all, u64 any, u64 leaf, u64 gva) {
  u64 page = leaf_page(level, leaf, gva);
  if (!guest_plain(level, 1, test, leaf) || page >= limit) return 0;
  u64 t = make(page, ordinary_obstacles(all, any, leaf), level - 1, leaf);
  return denies(t, deny_of(vcpu, access)) ? 0 : t;
}
static inline u64 guest_fast(char *vcpu, u64 gva, u32 access) {
  u64 limit = LIMIT, test = AT(u64, vcpu + CPU_TEST);
  u32 root = AT(u32, vcpu + CPU_ROOT);
  if (root == 0 || !canonical(gva)) return 0;
  u64 e4 = entry_at(M + root, 4, gva), t3 = e4 & PTE_ADDRESS;
  if (!guest_plain(4, 0, test, e4) || t3 >= limit) return 0;
  u64 e3 = entry_at(FRAMES + t3, 3, gva);
  if (unlikely(e3 & PTE_PS)) return guest_fast_leaf(3, vcpu, access, test, limit, e4 & e3, e4 | e3, e3, gva);
  u64 t2 = e3 & PTE_ADDRESS;
  if (!guest_plain(3, 0, test, e3) || t2 >= limit) return 0;
  u64 e2 = entry_at(FRAMES + t2, 2, gva);
  if (unlikely(e2 & PTE_PS)) return guest_fast_leaf(2, vcpu, access, test, limit, e4 & e3 & e2, e4 | e3 | e2, e2, gva);
  u64 t1 = e2 & PTE_ADDRESS;
  if (!guest_plain(2, 0, test, e2) || t1 >= limit) return 0;
  u64 e1 = entry_at(FRAMES + t1, 1, gva);
  return guest_fast_leaf(1, vcpu, access, test, limit, e4 & e3 & e2 & e1, e4 | e3 | e2 | e1, e1, gva);
}

// EPT walk, 4 levels in frames. 0: not plain.
static inline u64 nested_fast_leaf(u32 level, u64 test, u64 limit, u64 all, u64 leaf, u64 gpa) {
  u64 page = leaf_page(level, leaf, gpa);
  if (!ept_plain(level, 1, test, leaf) || page >= limit) return 0;
  return make(page, nested_obstacles(all, leaf), level - 1, 0);
}
// A function, as in the core: inlined five times, gcc spills half of its registers and takes twice as long.
static __attribute__((noinline)) u64 nested_fast(char *vcpu, u64 gpa) {
  u64 limit = LIMIT, test = AT(u64, vcpu + CPU_NESTED_TEST);
  u32 root = AT(u32, vcpu + CPU_NESTED_ROOT);
  if (root == 0 || gpa >> 48 != 0) return 0;
  u64 e4 = entry_at(M + root, 4, gpa), t3 = e4 & PTE_ADDRESS;
  if (!ept_plain(4, 0, test, e4) || t3 >= limit) return 0;
  u64 e3 = entry_at(FRAMES + t3, 3, gpa);
  if (unlikely(e3 & EPT_PS)) return nested_fast_leaf(3, test, limit, e4 & e3, e3, gpa);
  u64 t2 = e3 & PTE_ADDRESS;
  if (!ept_plain(3, 0, test, e3) || t2 >= limit) return 0;
  u64 e2 = entry_at(FRAMES + t2, 2, gpa);
  if (unlikely(e2 & EPT_PS)) return nested_fast_leaf(2, test, limit, e4 & e3 & e2, e2, gpa);
  u64 t1 = e2 & PTE_ADDRESS;
  if (!ept_plain(2, 0, test, e2) || t1 >= limit) return 0;
  u64 e1 = entry_at(FRAMES + t1, 1, gpa);
  return nested_fast_leaf(1, test, limit, e4 & e3 & e2 & e1, e1, gpa);
}

#define ROW_SHIFT 4
// A page of the guest's tables, by way of the walk cache: a row says where it lies.
struct walk_cache_row {
  u64 tag;
  u32 host, generation;
};
_Static_assert(sizeof(struct walk_cache_row) == 1 << ROW_SHIFT, "a row of the walk cache is not the core's");
static inline u64 walk_cache_tag(char *vcpu, u64 gpa) { return (gpa & PTE_ADDRESS) | AT(u64, vcpu + CPU_TABLES_TAG); }
static inline struct walk_cache_row *walk_cache_row(char *vcpu, u64 gpa) {
  u32 place = ((u32)gpa >> (12 - ROW_SHIFT)) & AT(u32, vcpu + CPU_WALK_CACHE_MASK);
  return (struct walk_cache_row *)(M + AT(u32, vcpu + CPU_WALK_CACHE_BASE) + place);
}
static __attribute__((noinline)) char *find_table_page(char *vcpu, u64 gpa) {
  u64 t = nested_fast(vcpu, gpa);
  if (t == 0 || t & AT(u64, vcpu + CPU_DENY_TABLE)) return 0;
  char *host = FRAMES + page_of(t);
  if (M + AT(u32, vcpu + CPU_WALK_CACHE_BASE) != vcpu + CPU_NO_WALK_CACHE) {
    struct walk_cache_row *row = walk_cache_row(vcpu, gpa);
    row->tag = walk_cache_tag(vcpu, gpa);
    row->host = (u32)(host - M);
    row->generation = AT(u32, vcpu + CPU_TABLES_GENERATION);
  }
  return host;
}
static inline char *table_page(char *vcpu, u64 gpa) {
  struct walk_cache_row *row = walk_cache_row(vcpu, gpa);
  if (row->tag == walk_cache_tag(vcpu, gpa) && row->generation == AT(u32, vcpu + CPU_TABLES_GENERATION)) return M + row->host;
  return find_table_page(vcpu, gpa);
}

// Both: 24 references, fewer where the walk cache knows the tables.
static inline u64 end_walk(char *vcpu, u32 outcome, u32 error) {
  AT(u32, vcpu + WALK_OUTCOME) = outcome;
  AT(u64, vcpu + WALK_ERROR) = error;
  return 0;
}
static inline u64 end_nested(char *vcpu, u64 gpa, u32 outcome, u32 error) {
  AT(u64, vcpu + WALK_GPA) = gpa;
  return end_walk(vcpu, outcome, error);
}
// The fast form's own end: the guest allows the access, with no flag to set, and EPT maps nothing there.
static int is_hole(char *vcpu, u64 gpa) {
  u32 root = AT(u32, vcpu + CPU_NESTED_ROOT);
  if (root == 0 || gpa >> 48 != 0) return 0;
  u64 test = AT(u64, vcpu + CPU_NESTED_TEST);
  char *table = M + root;
  for (u32 level = 4; level > 0; level--) {
    u64 e = entry_at(table, level, gpa);
    if ((e & EPT_RWX) == 0) return 1;
    if (level == 1 || e & EPT_PS || !ept_plain(4, 0, test, e) || (e & PTE_ADDRESS) >= LIMIT) return 0;
    table = FRAMES + (e & PTE_ADDRESS);
  }
  return 0;
}
static __attribute__((noinline)) u64 end_at_hole(char *vcpu, u64 gva, u64 page, u32 access, u64 guest) {
  if (denies(guest, deny_of(vcpu, access)) || !is_hole(vcpu, page)) return 0;
  AT(u64, vcpu + WALK_GVA) = gva;
  AT(u32, vcpu + WALK_STEP_COUNT) = 0;
  end_nested(vcpu, page | (gva & 0xfff), Outcome_EptViolation,
             nested_rights(access) | EPT_VIOLATION_FINAL | EPT_VIOLATION_LINEAR);
  return ENDED;
}
static inline u64 guest_nested_final(u32 level, char *vcpu, u32 access, u64 test, u64 all, u64 any, u64 leaf, u64 gva) {
  u64 gpa = leaf_page(level, leaf, gva);
  if (!guest_plain(level, 1, test, leaf)) return 0;
  u64 guest = make(gpa, ordinary_obstacles(all, any, leaf), level - 1, leaf), nested = nested_fast(vcpu, gpa);
  if (unlikely(nested == 0)) return end_at_hole(vcpu, gva, gpa, access, guest);
  u64 t = combine(guest, nested);
  return denies(t, deny_of(vcpu, access)) ? 0 : t;
}
static __attribute__((noinline)) u64 guest_fast_nested(char *vcpu, u64 gva, u32 access) {
  u64 test = AT(u64, vcpu + CPU_TEST);
  if (AT(u32, vcpu + CPU_MODE) != MODE_4LEVEL || !canonical(gva)) return 0;
  char *t4 = table_page(vcpu, AT(u64, vcpu + CPU_CR3) & PTE_ADDRESS);
  if (t4 == 0) return 0;
  u64 e4 = entry_at(t4, 4, gva);
  if (!guest_plain(4, 0, test, e4)) return 0;
  char *t3 = table_page(vcpu, e4 & PTE_ADDRESS);
  if (t3 == 0) return 0;
  u64 e3 = entry_at(t3, 3, gva);
  if (unlikely(e3 & PTE_PS)) return guest_nested_final(3, vcpu, access, test, e4 & e3, e4 | e3, e3, gva);
  if (!guest_plain(3, 0, test, e3)) return 0;
  char *t2 = table_page(vcpu, e3 & PTE_ADDRESS);
  if (t2 == 0) return 0;
  u64 e2 = entry_at(t2, 2, gva);
  if (unlikely(e2 & PTE_PS)) return guest_nested_final(2, vcpu, access, test, e4 & e3 & e2, e4 | e3 | e2, e2, gva);
  if (!guest_plain(2, 0, test, e2)) return 0;
  char *t1 = table_page(vcpu, e2 & PTE_ADDRESS);
  if (t1 == 0) return 0;
  u64 e1 = entry_at(t1, 1, gva);
  return guest_nested_final(1, vcpu, access, test, e4 & e3 & e2 & e1, e4 | e3 | e2 | e1, e1, gva);
}

// --- the loop form: everything that is not plain, with the record of the steps ---

static inline void record_step(char *vcpu, u64 pa, u64 entry, u64 level) {
  u32 n = AT(u32, vcpu + WALK_STEP_COUNT);
  if (n >= WALK_STEP_MAX) return;
  AT(u32, vcpu + WALK_STEP_COUNT) = n + 1;
  char *step = vcpu + WALK_STEPS + ((u64)n << WALK_STEP_SHIFT);
  AT(u64, step) = entry;
  AT(u64, step + 8) = (pa << 1) | level;
}
static inline u64 page_fault_guest(char *vcpu, u32 access, u32 cause) {
  u32 error = cause;
  if (is_write(access)) error |= PFERR_WR;
  if (AT(u32, vcpu + CPU_CPL) == 3) error |= PFERR_US;
  return end_walk(vcpu, Outcome_PageFault, error);
}
static int misconfigured(u32 level, int leaf, u64 common, u64 e) {
  if ((e & (EPT_R | EPT_W)) == EPT_W) return 1;
  if (e & (common | ept_reserved(level, leaf))) return 1;
  if (!leaf) return 0;
  u32 type = (u32)((e & EPT_MEMTYPE) >> 3);
  return type == 2 || type == 3 || type == 7;
}

static u64 nested_loop(char *vcpu, u64 gpa, u32 bits, u32 final, int record) {
  u64 eptp = AT(u64, vcpu + CPU_EPTP), common = AT(u64, vcpu + CPU_NESTED_RESERVED);
  int flags = (eptp & EPTP_AD) != 0;
  u32 what = bits | final | EPT_VIOLATION_LINEAR;
  if (gpa >> 48) return end_nested(vcpu, gpa, Outcome_EptViolation, what);
  u64 table = eptp & PTE_ADDRESS, all = EPT_RWX;
  u32 level = 4;
  for (;;) {
    u64 pa = table + offset_of(level, gpa);
    if (pa >= LIMIT) return end_walk(vcpu, Outcome_Missing, 0);
    u64 *at = (u64 *)(FRAMES + pa);
    u64 e = LOAD(at);
    if (record) record_step(vcpu, pa, e, level | WALK_STEP_NESTED);
    if ((e & EPT_RWX) == 0) return end_nested(vcpu, gpa, Outcome_EptViolation, what);
    int leaf = is_leaf(level, e);
    if (misconfigured(level, leaf, common, e)) return end_nested(vcpu, gpa, Outcome_EptMisconfiguration, 0);
    if (leaf && (all & e & bits) != bits) {
      return end_nested(vcpu, gpa, Outcome_EptViolation, what | (u32)(all & e) << EPT_VIOLATION_RIGHTS_SHIFT);
    }
    u64 set = EPT_A | (leaf && bits & EPT_VIOLATION_WRITE ? EPT_D : 0);
    if (flags && (e & set) != set && CAS(at, e, e | set, FULL) != e) {
      if (record) AT(u32, vcpu + WALK_STEP_COUNT) -= 1;
      continue;
    }
    all &= e;
    if (leaf) return make(leaf_page(level, e, gpa), nested_obstacles(all, flags ? e | set : e), level - 1, 0);
    table = e & PTE_ADDRESS;
    level--;
  }
}

// Where a guest's table entry lies, through EPT.
static u64 *locate_table(char *vcpu, u64 pa, int write, int record) {
  int counts = write || (AT(u64, vcpu + CPU_DENY_TABLE) & OBSTACLE_EPT_CLEAN) != 0;
  u64 t = nested_loop(vcpu, pa, EPT_VIOLATION_READ | (counts ? EPT_VIOLATION_WRITE : 0), 0, record);
  if (t == 0) return 0;
  u64 hpa = page_of(t) | (pa & 0xfff);
  if (hpa >= LIMIT) return (u64 *)end_walk(vcpu, Outcome_Missing, 0);
  return (u64 *)(FRAMES + hpa);
}

static u32 guest_denied(char *vcpu, u64 t, u32 access) {
  u64 deny = deny_of(vcpu, access) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);
  if (!denies(t, deny)) return 0;
  return denies(t, deny & (~0ull << OBSTACLE_USER_KEYS)) ? PFERR_P | PFERR_PK : PFERR_P;
}

// Sets accessed and dirty flags of the recorded steps: 0 done, 1 again, 2 stopped.
static int mark(char *vcpu, int write) {
  u32 n = AT(u32, vcpu + WALK_STEP_COUNT);
  for (u32 i = 0; i < n; i++) {
    char *step = vcpu + WALK_STEPS + ((u64)i << WALK_STEP_SHIFT);
    u64 where = AT(u64, step + 8);
    if (where & WALK_STEP_NESTED) continue;
    u64 e = AT(u64, step), set = PTE_A | (write && i == n - 1 ? PTE_D : 0);
    if ((e & set) == set) continue;
    u64 *at = locate_table(vcpu, (where >> 4) << 3, 1, 0);
    if (at == 0) return 2;
    if (CAS(at, e, e | set, FULL) != e) return 1;
  }
  return 0;
}

static u64 guest_loop_nested(char *vcpu, u64 gva, u32 access) {
  if (!canonical(gva)) return end_walk(vcpu, Outcome_GeneralProtection, 0);
  u64 common = AT(u64, vcpu + CPU_RESERVED);
  for (;;) {
    AT(u32, vcpu + WALK_STEP_COUNT) = 0;
    u64 table = AT(u64, vcpu + CPU_CR3) & PTE_ADDRESS, all = ~0ull, any = 0, e;
    u32 level = 4;
    for (;;) {
      u64 pa = table + offset_of(level, gva);
      u64 *at = locate_table(vcpu, pa, 0, 1);
      if (at == 0) return 0;
      e = LOAD(at);
      record_step(vcpu, pa, e, level);
      if ((e & PTE_P) == 0) return page_fault_guest(vcpu, access, 0);
      int leaf = is_leaf(level, e);
      if (e & (common | guest_reserved(level, leaf))) return page_fault_guest(vcpu, access, PFERR_P | PFERR_RSVD);
      all &= e;
      any |= e;
      if (leaf) break;
      table = e & PTE_ADDRESS;
      level--;
    }
    u64 t = make(leaf_page(level, e, gva), ordinary_obstacles(all, any, e), level - 1, e);
    u32 cause = guest_denied(vcpu, t, access);
    if (cause) return page_fault_guest(vcpu, access, cause);
    int marked = mark(vcpu, is_write(access));
    if (marked == 2) return 0;
    if (marked == 0) return is_write(access) ? t & ~OBSTACLE_CLEAN : t;
  }
}

// --- tables in windows, by way of the table cache (assembly/x86/tables.ts) ---

struct table_row {
  u64 tag, rights, entry;
  u32 host, level;
};
_Static_assert(sizeof(struct table_row) == 1 << TABLE_ROW_SHIFT && offsetof(struct table_row, host) == TABLE_HOST &&
                   offsetof(struct table_row, level) == TABLE_LEVEL && offsetof(struct table_row, rights) == TABLE_RIGHTS,
               "a row of the table cache is not the core's");
struct window_row {
  u64 key;
  u32 host, used;
};
_Static_assert(sizeof(struct window_row) == 1 << WINDOW_ROW_SHIFT, "a row of the window table is not the core's");

static char *find_window(u64 pa) {
  struct window_row *rows = (struct window_row *)(M + HEADER(WINDOWS_BASE));
  u32 count = HEADER(WINDOW_COUNT);
  u32 index = (u32)((((pa >> 12) * 0x9e3779b97f4a7c15ull >> 32) * count) >> 32);
  for (u32 i = 0; i < count; i++) {
    if (rows[index].key == 0) return 0;
    if (rows[index].key == (pa >> 12) + 1) return rows[index].host ? M + rows[index].host : 0;
    if (++index == count) index = 0;
  }
  return 0;
}
static inline int guest_sound(u32 level, u64 common, u64 e) {
  return (e & (PTE_P | common | guest_reserved(level, is_leaf(level, e)))) == PTE_P;
}
static __attribute__((noinline)) struct table_row *fill_row(char *vcpu, u64 gva, struct table_row *row) {
  if (!canonical(gva)) return 0;
  u64 table = AT(u64, vcpu + CPU_CR3) & PTE_ADDRESS, rights = PTE_RW | PTE_US, common = AT(u64, vcpu + CPU_RESERVED);
  for (u32 level = 4;; level--) {
    char *page = find_window(table);
    if (page == 0) return 0;
    u64 e = level == 1 ? 0 : entry_at(page, level, gva);
    if (level != 1 && !guest_sound(level, common, e)) return 0;
    if (level == 1 || is_leaf(level, e)) {
      *row = (struct table_row){(gva >> TABLE_SPAN_SHIFT) + 1, rights, e, level == 1 ? (u32)(page - M) : 0, level};
      return row;
    }
    rights = (rights & e & (PTE_RW | PTE_US)) | ((rights | e) & PTE_XD);
    table = e & PTE_ADDRESS;
  }
}
// The guest's dimension alone, as the question asks. `rows` and `mask` are the vCPU's part of the cache.
static inline u64 translate_tables(char *vcpu, char *rows, u32 mask, u64 gva) {
  struct table_row *row = (struct table_row *)(rows + (((u32)(gva >> TABLE_SPAN_SHIFT) << TABLE_ROW_SHIFT) & mask));
  if (unlikely(row->tag != (gva >> TABLE_SPAN_SHIFT) + 1) && (row = fill_row(vcpu, gva, row)) == 0) return 0;
  u64 rights = row->rights, e = row->entry;
  if (likely(row->level == 1)) {
    e = entry_at(M + row->host, 1, gva);
    if (!guest_sound(1, AT(u64, vcpu + CPU_RESERVED), e)) return 0;
  }
  return make(leaf_page(row->level, e, gva), ordinary_obstacles(rights & e, rights | e, e), row->level - 1, e);
}

// --- TLB ---

struct tlb_entry {
  u64 tag, context, rights;
  u32 addend, generation;
};
_Static_assert(sizeof(struct tlb_entry) == 1 << TLB_ENTRY_SHIFT && offsetof(struct tlb_entry, addend) == TLB_ADDEND &&
                   offsetof(struct tlb_entry, generation) == TLB_GENERATION,
               "a TLB entry is not the core's");

static inline struct tlb_entry *tlb_slot(char *vcpu, u64 gva) {
  u32 place = ((u32)(gva >> 12) << TLB_ENTRY_SHIFT) & AT(u32, vcpu + CPU_TLB_MASK);
  return (struct tlb_entry *)(M + AT(u32, vcpu + CPU_TLB_BASE) + place);
}
static inline char *tlb_hit(char *vcpu, u64 gva, u32 access) {
  u64 page = gva >> 12;
  struct tlb_entry *e = tlb_slot(vcpu, gva);
  if (e->tag != page || e->context != AT(u64, vcpu + CPU_CONTEXT) || e->generation != AT(u32, vcpu + CPU_GENERATION) ||
      (e->rights & deny_of(vcpu, access)) != 0) {
    return 0;
  }
  return M + (u32)(e->addend + (u32)gva);
}
static inline void tlb_write(char *vcpu, struct tlb_entry *e, u64 tag, u64 rights, u32 addend) {
  e->tag = tag;
  e->context = AT(u64, vcpu + CPU_CONTEXT);
  e->rights = rights;
  e->addend = addend;
  e->generation = AT(u32, vcpu + CPU_GENERATION);
}
static inline int tlb_usable(char *vcpu, struct tlb_entry *e) {
  u64 other = e->context ^ AT(u64, vcpu + CPU_CONTEXT);
  if (other == 0 && e->generation == AT(u32, vcpu + CPU_GENERATION)) return 1;
  if ((e->rights & TRANSLATION_GLOBAL) == 0) return 0;
  return (other & ~TLB_CONTEXT_PCID) == 0 && e->generation >= AT(u32, vcpu + CPU_KEPT_GENERATION);
}
static inline struct tlb_entry *tlb_large_slot(char *vcpu, u64 gva, u32 size) {
  u32 index = (u32)(gva >> (12 + 9 * size)) << TLB_ENTRY_SHIFT;
  return (struct tlb_entry *)(M + AT(u32, vcpu + CPU_TLB_LARGE_BASE) + (index & AT(u32, vcpu + CPU_TLB_LARGE_MASK)));
}
static inline u64 large_tag(u64 gva, u32 size) { return (gva >> (12 + 9 * size)) | ((u64)size << 62); }

// After a miss: a global entry of another PCID, or a large one.
static char *tlb_second_look(char *vcpu, u64 gva, u32 access) {
  u64 deny = deny_of(vcpu, access);
  struct tlb_entry *e = tlb_slot(vcpu, gva);
  if (e->tag == gva >> 12 && tlb_usable(vcpu, e)) {
    if (e->rights & deny) return 0;
    tlb_write(vcpu, e, gva >> 12, e->rights, e->addend);
    return M + (u32)(e->addend + (u32)gva);
  }
  if (AT(u32, vcpu + CPU_LARGE_SEEN) == 0 || AT(u32, vcpu + CPU_TLB_LARGE_BASE) == 0) return 0;
  for (u32 size = 1; size <= 2; size++) {
    struct tlb_entry *large = tlb_large_slot(vcpu, gva, size);
    if (large->tag != large_tag(gva, size) || !tlb_usable(vcpu, large)) continue;
    if (large->rights & deny) return 0;
    tlb_write(vcpu, e, gva >> 12, large->rights, large->addend);
    return M + (u32)(large->addend + (u32)gva);
  }
  return 0;
}
static inline char *tlb_fill(char *vcpu, u64 gva, u64 t) {
  u32 addend = (u32)(FRAMES - M + page_of(t)) - (u32)(gva & ~0xfffull);
  tlb_write(vcpu, tlb_slot(vcpu, gva), gva >> 12, rights_of(t), addend);
  if ((t >> GUEST_SIZE_SHIFT) & 3) die("large guest pages are not in this twin");
  return M + (u32)(addend + (u32)gva);
}
static inline int tlb_covers(char *vcpu, struct tlb_entry *e, u64 gva) {
  u64 other = e->context ^ AT(u64, vcpu + CPU_CONTEXT);
  if (other & TLB_CONTEXT_VPID) return 0;
  if (!(e->rights & TRANSLATION_GLOBAL) && other & TLB_CONTEXT_PCID) return 0;
  u64 address = ((e->tag << 2) >> 2) << (12 + 9 * (e->tag >> 62)), shift = 12 + 9 * ((e->rights >> 12) & 3);
  return address >> shift == gva >> shift;
}
// After a fault: what the TLB has for this page number, in its three places.
static inline void tlb_drop_address(char *vcpu, u64 gva) {
  struct tlb_entry *e = tlb_slot(vcpu, gva);
  if (e->tag == gva >> 12 && tlb_covers(vcpu, e, gva)) e->generation = 0;
  if (AT(u32, vcpu + CPU_LARGE_SEEN) == 0 || AT(u32, vcpu + CPU_TLB_LARGE_BASE) == 0) return;
  for (u32 size = 1; size <= 2; size++) {
    struct tlb_entry *large = tlb_large_slot(vcpu, gva, size);
    if (large->tag == large_tag(gva, size) && tlb_covers(vcpu, large, gva)) large->generation = 0;
  }
}
// After an exit that EPT caused: what is cached of the guest-physical address.
static inline void tlb_drop_gpa(char *vcpu, u64 gpa) {
  struct walk_cache_row *row = walk_cache_row(vcpu, gpa);
  if (row->tag == walk_cache_tag(vcpu, gpa)) row->generation = 0;
}
static inline void tlb_flush_all(char *vcpu) {
  u32 generation = AT(u32, vcpu + CPU_GENERATION) + 1;
  if (generation == 0) die("TLB generations are used up");
  AT(u32, vcpu + CPU_GENERATION) = generation;
  AT(u32, vcpu + CPU_KEPT_GENERATION) = generation;
  AT(u32, vcpu + CPU_TABLES_GENERATION) = generation;
  AT(u32, vcpu + CPU_VPIDS_SEEN) = 0;
  AT(u32, vcpu + CPU_LARGE_SEEN) = 0;
}

// --- translation ---

static u64 walk_fast(char *vcpu, u64 gva, u32 access) {
  u32 shape = AT(u32, vcpu + CPU_SHAPE);
  if (shape == Shape_Both) return guest_fast_nested(vcpu, gva, access);
  if (shape == Shape_Guest) return guest_fast(vcpu, gva, access);
  if (shape == Shape_None) return 0;
  u64 t = nested_fast(vcpu, gva);
  if (t == 0) return end_at_hole(vcpu, gva, gva & ~0xfffull, access, OBSTACLE_USER);
  return denies(t, deny_of(vcpu, access)) ? 0 : t | OBSTACLE_USER;
}

static u64 walk_recorded(char *vcpu, u64 gva, u32 access) {
  u32 shape = AT(u32, vcpu + CPU_SHAPE);
  AT(u64, vcpu + WALK_GVA) = gva;
  AT(u64, vcpu + WALK_GPA) = gva;
  AT(u32, vcpu + WALK_STEP_COUNT) = 0;
  AT(u32, vcpu + WALK_NESTED_MODE) = AT(u32, vcpu + CPU_NESTED_MODE);
  u64 t = make(gva & ~0xfffull, OBSTACLE_USER, 0, 0);
  if (shape & Shape_Guest) {
    t = guest_loop_nested(vcpu, gva, access);
    if (t == 0) return 0;
    AT(u64, vcpu + WALK_GPA) = page_of(t) | (gva & 0xfff);
  }
  u64 gpa = AT(u64, vcpu + WALK_GPA);
  u64 nested = nested_loop(vcpu, gpa, nested_rights(access), EPT_VIOLATION_FINAL, 1);
  if (nested == 0) return 0;
  t = shape & Shape_Guest ? combine(t, nested) : nested | OBSTACLE_USER;
  AT(u64, vcpu + WALK_PA) = page_of(t) | (gva & 0xfff);
  AT(u64, vcpu + WALK_RIGHTS) = t & OBSTACLES;
  AT(u32, vcpu + WALK_SHIFT) = 12 + 9 * ((t >> SIZE_SHIFT) & 3);
  AT(u32, vcpu + WALK_OUTCOME) = Outcome_Ok;
  if (page_of(t) < LIMIT) return t;
  return end_walk(vcpu, Outcome_Missing, 0);
}

static char *translate_miss(char *vcpu, u64 gva, u32 access) {
  char *held = tlb_second_look(vcpu, gva, access);
  if (held) return held;
  count(vcpu, Stat_Walks, 1);
  u64 t = walk_fast(vcpu, gva, access);
  if (t == 0) t = walk_recorded(vcpu, gva, access);
  if (t > ENDED) {
    int pge = (AT(u32, vcpu + CPU_CR4) & CR4_PGE) != 0;
    return tlb_fill(vcpu, gva, pge ? t : t & ~TRANSLATION_GLOBAL);
  }
  tlb_drop_address(vcpu, gva);
  if (AT(u32, vcpu + WALK_OUTCOME) == Outcome_EptViolation) tlb_drop_gpa(vcpu, AT(u64, vcpu + WALK_GPA));
  return 0;
}

// --- the kernels of assembly/x86/measure.ts ---

#define KERNEL(name, dependent, body, ...)                                                     \
  static __attribute__((noinline)) u64 name(char *vcpu, u64 base, u64 mask, u32 n, u64 seed) { \
    u64 x = seed, last = 0, digest = 0;                                                        \
    __VA_ARGS__                                                                                \
    for (u32 i = 0; i < n; i++) {                                                              \
      x ^= x << 13;                                                                            \
      x ^= x >> 7;                                                                             \
      x ^= x << 17;                                                                            \
      u64 gva = base + (((dependent ? x ^ (last >> 12) : x) & mask) << 12), value;             \
      body;                                                                                    \
      digest += value;                                                                         \
      if (dependent) last = value;                                                             \
    }                                                                                          \
    return digest;                                                                             \
  }
#define WALK_BODY(walk)                    \
  u64 t = walk(vcpu, gva, Access_Read);    \
  if (t <= ENDED) return MEASURE_FAILED;   \
  value = page_of(t)
#define TLB_BODY                           \
  char *at = tlb_hit(vcpu, gva, Access_Read); \
  if (at == 0) return MEASURE_FAILED;      \
  value = AT(u64, at)

// As the core: the deny mask is read once, the cache's place is a constant of the instance.
#define TABLES_BODY                                                           \
  u64 t = translate_tables(vcpu, rows, rows_mask, gva);                       \
  if (t == 0 || denies(t, deny)) return MEASURE_FAILED;                       \
  value = page_of(t)
#define TABLES_PLACE                                                                                    \
  u32 rows_size = HEADER(TABLE_CACHE_ENTRIES) << TABLE_ROW_SHIFT;                                       \
  u32 rows_mask = rows_size - (1 << TABLE_ROW_SHIFT);                                                   \
  char *rows = M + HEADER(TABLE_CACHES_BASE) + (u64)(u32)((vcpu - ACTORS) / ACTOR_SIZE) * 2 * rows_size; \
  u64 deny = deny_of(vcpu, Access_Read) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);

KERNEL(walk_dependent, 1, WALK_BODY(guest_fast))
KERNEL(walk_independent, 0, WALK_BODY(guest_fast))
KERNEL(nested_dependent, 1, WALK_BODY(guest_fast_nested))
KERNEL(nested_independent, 0, WALK_BODY(guest_fast_nested))
KERNEL(tlb_dependent, 1, TLB_BODY)
KERNEL(tlb_independent, 0, TLB_BODY)
KERNEL(tables_dependent, 1, TABLES_BODY, TABLES_PLACE)
KERNEL(tables_independent, 0, TABLES_BODY, TABLES_PLACE)

static u64 measure(u32 what, int dependent, char *vcpu, u64 base, u32 pages, u32 n, u64 seed) {
  u64 mask = (u64)pages - 1;
  switch (what) {
    case Measure_Walk:
      return dependent ? walk_dependent(vcpu, base, mask, n, seed) : walk_independent(vcpu, base, mask, n, seed);
    case Measure_NestedWalk:
      return dependent ? nested_dependent(vcpu, base, mask, n, seed) : nested_independent(vcpu, base, mask, n, seed);
    case Measure_Tables:
      return dependent ? tables_dependent(vcpu, base, mask, n, seed) : tables_independent(vcpu, base, mask, n, seed);
    default:
      return dependent ? tlb_dependent(vcpu, base, mask, n, seed) : tlb_independent(vcpu, base, mask, n, seed);
  }
}

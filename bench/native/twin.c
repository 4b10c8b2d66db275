// The native twin: does in C what the core does, on a copy of the same memory, and reports a digest of the result.
//
// It reads one command a line and answers with one line, so that a run of it can take turns with a run of the core:
//
//   load FILE BYTES START GPA             maps the machine that FILE holds; START, GPA: the region of the guest kernel
//   measure WHAT DEP BASE PAGES N SEED    -> digest, processor ns
//   restore                               the memory as it was loaded, frames that were free aside
//   run ACTIVITY N VCPUS                  populate or cycle: N steps on each of VCPUS threads -> wall ns, processor ns
//   race RATE MS                          vCPU 0 cycles beside an invalidator: RATE a second, 0 flat out, -1 none
//                                         -> steps, ns, invalidations
//   digest PAGES BASEGFN HVA MASK         -> digest of what maps each page; MASK 0 leaves pfns out
//   stat ACTOR INDEX                      -> a counter
//
// Numbers are decimal or 0x. An error ends the program with a line on stderr.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "drive.h"

static char *IMAGE;
static u64 SIZE, PREFIX;
static u32 *USED;
static u32 USED_COUNT;

static u64 now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

static void *anonymous(u64 size) {
  void *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) die("no memory");
  return p;
}

static int is_zero(const char *frame) {
  for (u32 i = 0; i < PAGE_SIZE / 8; i++) {
    if (((const u64 *)frame)[i]) return 0;
  }
  return 1;
}

// The file is sparse. What of it is not zero is copied to anonymous memory, as the core's memory is anonymous.
static void load_image(const char *path, u64 size) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) die("the image cannot be opened");
  IMAGE = mmap(0, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (IMAGE == MAP_FAILED) die("the image cannot be mapped");
  SIZE = size;
  char *memory = anonymous(size);
  PREFIX = AT(u32, IMAGE + HEADER_OFFSET_FRAMES_BASE);
  memcpy(memory, IMAGE, PREFIX);
  attach(memory);
  USED = malloc(sizeof(u32) * FRAME_COUNT);
  USED_COUNT = 0;
  u64 at = PREFIX;
  while (at < size) {
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    if (data < 0) break;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    at = (u64)data & ~(u64)(PAGE_SIZE - 1);
    for (; at < (u64)hole && at < size; at += PAGE_SIZE) {
      if (is_zero(IMAGE + at)) continue;
      USED[USED_COUNT++] = (u32)((at - PREFIX) >> PAGE_SHIFT);
      memcpy(memory + at, IMAGE + at, PAGE_SIZE);
    }
  }
  close(fd);
}
static void restore(void) {
  memcpy(M, IMAGE, PREFIX);
  for (u32 i = 0; i < USED_COUNT; i++) {
    u64 at = PREFIX + ((u64)USED[i] << PAGE_SHIFT);
    memcpy(M + at, IMAGE + at, PAGE_SIZE);
  }
  // Frames of the table caches count as zero.
  for (u32 actor = 0; actor < ACTOR_COUNT; actor++) {
    u32 n = AT(u32, actor_at(actor) + POOL_TABLE_COUNT);
    for (u32 i = 0; i < n; i++) memset(frame_at(AT(u32, actor_at(actor) + POOL_TABLES + (i << 2))), 0, PAGE_SIZE);
  }
}

// --- threads ---

static u32 READY, GO;
struct job {
  u32 vcpu, steps, done;
  u32 (*activity)(char *, u32);
  u64 begin, end, cpu;
};
static void work(struct job *j) {
  __atomic_fetch_add(&READY, 1, FULL);
  while (!LOAD_ACQUIRE(&GO));
  u64 cpu = now(CLOCK_THREAD_CPUTIME_ID);
  j->begin = now(CLOCK_MONOTONIC);
  j->done = j->activity(actor_at(j->vcpu), j->steps);
  j->end = now(CLOCK_MONOTONIC);
  j->cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
}
static void *thread_main(void *argument) {
  work(argument);
  return 0;
}
static void run(u32 (*activity)(char *, u32), u32 steps, u32 vcpus) {
  struct job jobs[16];
  pthread_t threads[16];
  if (vcpus > 16 || vcpus > VCPU_COUNT) die("too many vCPUs");
  READY = GO = 0;
  for (u32 i = 0; i < vcpus; i++) jobs[i] = (struct job){.vcpu = i, .steps = steps, .activity = activity};
  for (u32 i = 1; i < vcpus; i++) {
    if (pthread_create(&threads[i], 0, thread_main, &jobs[i])) die("no thread");
  }
  while (LOAD_ACQUIRE(&READY) != vcpus - 1);
  // New threads begin on one processor: busy as they are, the system spreads them if it has another.
  for (u64 until = now(CLOCK_MONOTONIC) + (vcpus > 1 ? 5000000 : 0); now(CLOCK_MONOTONIC) < until;);
  STORE_FULL(&GO, 1u);
  work(&jobs[0]);
  u64 begin = ~0ull, end = 0, cpu = 0;
  for (u32 i = 0; i < vcpus; i++) {
    if (i) pthread_join(threads[i], 0);
    if (jobs[i].begin < begin) begin = jobs[i].begin;
    if (jobs[i].end > end) end = jobs[i].end;
    cpu += jobs[i].cpu;
    if (jobs[i].done != steps) die("a driver came back early");
  }
  printf("%llu %llu\n", (unsigned long long)(end - begin), (unsigned long long)cpu);
}

// --- a race of fixed length ---

static i64 RATE;
static u64 INVALIDATIONS;
static void *invalidator_main(void *actor) {
  u64 begin = now(CLOCK_MONOTONIC), done = 0;
  while (!stopped()) {
    u64 due = RATE == 0 ? done + 64 : (now(CLOCK_MONOTONIC) - begin) * (u64)RATE / 1000000000ull;
    if (due > done) done += drive_invalidate(actor, (u32)(due - done < 64 ? due - done : 64));
    else nanosleep(&(struct timespec){0, 20000}, 0);
  }
  INVALIDATIONS = done;
  return 0;
}
static void race(i64 rate, u32 milliseconds) {
  pthread_t thread;
  RATE = rate;
  INVALIDATIONS = 0;
  STORE(WORD(HEADER_STOP), 0u);
  if (rate >= 0 && pthread_create(&thread, 0, invalidator_main, actor_at(VCPU_COUNT))) die("no thread");
  u64 begin = now(CLOCK_MONOTONIC), end = begin + milliseconds * 1000000ull, steps = 0, at;
  do {
    steps += drive_cycle(actor_at(0), 256);
    at = now(CLOCK_MONOTONIC);
  } while (at < end);
  STORE(WORD(HEADER_STOP), 1u);
  if (rate >= 0) pthread_join(thread, 0);
  STORE(WORD(HEADER_STOP), 0u);
  printf("%llu %llu %llu\n", (unsigned long long)steps, (unsigned long long)(at - begin), (unsigned long long)INVALIDATIONS);
}

// --- digest: two 32-bit hashes of everything that maps a page; bench/digest.mjs is the same ---

static u32 H1, H2;
static void feed(u32 word) {
  H1 = (H1 ^ word) * 16777619u;
  H2 = (H2 ^ word) * 0x85ebca6bu;
  H2 ^= H2 >> 13;
}
static void feed64(u64 word) {
  feed((u32)word);
  feed((u32)(word >> 32));
}
static u64 leaf_of(u64 gfn) {
  u32 root = LOAD(WORD(KVM_CURRENT_ROOT));
  if (!root) return 0;
  char *table = frame_at(root);
  u32 shift = ROOT_SHIFT;
  u64 e = LOAD(sptep_of(table, gfn, shift));
  while (spte_present(e) && !spte_leaf(e, shift)) {
    table = frame_at(spte_pfn(e));
    shift -= 9;
    e = LOAD(sptep_of(table, gfn, shift));
  }
  return spte_present(e) ? e : 0;
}
static u64 pte_of(u64 hva) {
  u64 *pmd = pmd_slot(hva);
  if (!pmd || !LOAD(pmd)) return 0;
  return LOAD(host_entry(entry_pfn(LOAD(pmd)), hva, PTE_SHIFT));
}
static void digest(u32 pages, u64 base_gfn, u64 hva, int with_pfns) {
  u64 keep = with_pfns ? ~0ull : ~PTE_ADDRESS;
  H1 = 2166136261u;
  H2 = 1;
  for (u32 i = 0; i < pages; i++) {
    u64 leaf = leaf_of(base_gfn + i), pte = pte_of(hva + ((u64)i << PAGE_SHIFT));
    feed64(leaf & keep);
    feed64(pte & keep);
    feed(leaf && pte ? spte_pfn(leaf) == entry_pfn(pte & PTE_ADDRESS) : 2);
    if (!pte) continue;
    struct page *p = page_at(entry_pfn(pte & PTE_ADDRESS));
    feed((u32)p->refcount);
    feed((u32)p->mapcount);
    feed(p->flags);
    if (leaf) feed64(AT(u64, frame_at(spte_pfn(leaf)) + ((u64)i << 6 & 0xfc0)));
  }
  printf("%08x%08x\n", H1, H2);
}

int main(void) {
  char line[512], name[64], path[400];
  unsigned long long a, b, c, d, e, f;
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "load %399s %lli %lli %lli", path, (long long *)&a, (long long *)&b, (long long *)&c) == 4) {
      load_image(path, a);
      REGION_START = b;
      REGION_GPA = c;
      printf("ok\n");
    } else if (sscanf(line, "measure %lli %lli %lli %lli %lli %lli", (long long *)&a, (long long *)&b, (long long *)&c,
                      (long long *)&d, (long long *)&e, (long long *)&f) == 6) {
      u64 cpu = now(CLOCK_THREAD_CPUTIME_ID);
      u64 result = measure((u32)a, b != 0, actor_at(0), c, (u32)d, (u32)e, f);
      cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
      printf("%llu %llu\n", (unsigned long long)result, (unsigned long long)cpu);
    } else if (strncmp(line, "restore", 7) == 0) {
      restore();
      printf("ok\n");
    } else if (sscanf(line, "run %63s %lli %lli", name, (long long *)&a, (long long *)&b) == 3) {
      run(strcmp(name, "populate") == 0 ? drive_populate
                                            : drive_cycle,
          (u32)a, (u32)b);
    } else if (sscanf(line, "race %lli %lli", (long long *)&a, (long long *)&b) == 2) {
      race((i64)a, (u32)b);
    } else if (sscanf(line, "digest %lli %lli %lli %lli", (long long *)&a, (long long *)&b, (long long *)&c, (long long *)&d) == 4) {
      digest((u32)a, b, c, d != 0);
    } else if (sscanf(line, "stat %lli %lli", (long long *)&a, (long long *)&b) == 2) {
      printf("%llu\n", (unsigned long long)*stat_of(actor_at((u32)a), (u32)b));
    } else {
      die("unknown command");
    }
    fflush(stdout);
  }
  return 0;
}

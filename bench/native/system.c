// Context, not a twin: what the operating system takes to populate memory and to discard and refault it, on this machine
// in the same seconds. A trap per fault is part of its cost; the guest of the core takes none.
//
//   populate PAGES THREADS        mmap, touch every page once      -> wall ns, processor ns
//   cycle N SPAN                  MADV_DONTNEED of SPAN pages, touch them again, until N are touched -> wall ns, processor ns
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ull

static uint64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static char *fresh(uint64_t pages) {
  char *p = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) exit(70);
  madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
  return p;
}
struct part {
  char *memory;
  uint64_t pages;
};
static void *touch(void *argument) {
  struct part *part = argument;
  for (uint64_t i = 0; i < part->pages; i++) *(volatile uint64_t *)(part->memory + i * PAGE + (i << 6 & 0xfc0)) = i;
  return 0;
}

int main(void) {
  char line[128];
  unsigned long long a, b;
  while (fgets(line, sizeof line, stdin)) {
    uint64_t wall, cpu;
    if (sscanf(line, "populate %llu %llu", &a, &b) == 2 && b <= 16) {
      char *memory = fresh(a * b);
      struct part parts[16];
      pthread_t threads[16];
      for (uint64_t i = 0; i < b; i++) parts[i] = (struct part){memory + i * a * PAGE, a};
      wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
      for (uint64_t i = 1; i < b; i++) pthread_create(&threads[i], 0, touch, &parts[i]);
      touch(&parts[0]);
      for (uint64_t i = 1; i < b; i++) pthread_join(threads[i], 0);
      wall = now(CLOCK_MONOTONIC) - wall, cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
      munmap(memory, a * b * PAGE);
    } else if (sscanf(line, "cycle %llu %llu", &a, &b) == 2) {
      uint64_t window = 4096, next = 0;
      char *memory = fresh(window);
      touch(&(struct part){memory, window});
      wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
      for (uint64_t done = 0; done < a; done += b, next = (next + b) % window) {
        madvise(memory + next * PAGE, b * PAGE, MADV_DONTNEED);
        touch(&(struct part){memory + next * PAGE, b});
      }
      wall = now(CLOCK_MONOTONIC) - wall, cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
      munmap(memory, window * PAGE);
    } else {
      return 2;
    }
    printf("%llu %llu\n", (unsigned long long)wall, (unsigned long long)cpu);
    fflush(stdout);
  }
  return 0;
}

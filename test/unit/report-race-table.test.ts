import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { raceTable, wrap } from "../../src/report/race-table.js";
import { LAYOUT, access, note, sampleTrace, traceOf } from "./report-race-sample.js";

const { KVM_INVALIDATE_SEQ: SEQ, KVM_MMU_LOCK: LOCK } = layout;

const page = (pfn: number): number => LAYOUT.pagesBase + pfn * 64;
const put = (actor: number, before: bigint) =>
  access(page(7), {
    actor,
    kind: "modify",
    before,
    after: before - 1n,
    at: "page.ts:45 putPage",
    notes: [note("PagePut", 7n, before - 1n), ...(before === 1n ? [note("PageFree", 7n)] : [])],
  });

/** vcpu0 reads the sequence, host (actor 2 or 1) raises it, vcpu0 reads it again. */
const lostWindow = [
  access(SEQ, { at: "fault.ts:58 snapshot" }),
  access(LAYOUT.actorsBase + layout.ACTOR_STATS, { shared: false, at: "fault.ts:189 pageFault", size: 8 }),
  access(SEQ, { actor: 1, kind: "store", after: 1n, at: "invalidate.ts:62 endLocked" }),
  access(SEQ, { before: 1n }),
];

describe("the race table", () => {
  test("of the recorded race: what a kernel engineer would draw", () => {
    expect(raceTable(sampleTrace()).split("\n")).toMatchInlineSnapshot(`
      [
        "VIOLATED  no-use-after-free   scenario fault-vs-munmap   profile v6.13   without RetryUnderLock   2 switches",
        "",
        "     vcpu0                                  | host0                                  | place",
        "--------------------------------------------+----------------------------------------+----------------------------------",
        " 27  kvm.mmu_invalidate_seq = 0             |                                        | fault.ts:58 snapshot",
        " 29  kvm.mmu_invalidate_seq = 0             |                                        | retry.ts:32 retryReason",
        " 30  kvm.mmu_invalidate_in_progress = 0     |                                        | retry.ts:33 retryReason",
        " 31  kvm.mmu_invalidate_seq = 0             |                                        | retry.ts:39 retryReason",
        " 37  pte[hva 0x7f0000010000 4K]             |                                        | gup.ts:37 gupFastInside",
        "       = pfn 3 RW- AD                       |                                        |",
        " 40  page[3].refcount 1 -> 2                |                                        | page.ts:35 tryGetPage",
        " 41  pte[hva 0x7f0000010000 4K]             |                                        | gup.ts:49 gupFastInside",
        "       = pfn 3 RW- AD                       |                                        |",
        " 45  kvm.mmu_invalidate_seq = 0             |                                        | retry.ts:32 retryReason",
        " 46  kvm.mmu_invalidate_in_progress = 0     |                                        | retry.ts:33 retryReason",
        " 47  kvm.mmu_invalidate_seq = 0             |                                        | retry.ts:39 retryReason",
        "---- vcpu0 stops before lock.ts:11 MmuLock.lockShared ------------------------------------------------------------------",
        " 51                                         | invalidate start hva 0x7f0000010000, 4 |",
        "                                            |   pages, Unmap                         |",
        " 62                                         | takes kvm.mmu_lock (write)             | rwlock.ts:68 drain",
        " 66                                         |   kvm.mmu_invalidate_in_progress       | invalidate.ts:40 beginLocked",
        "                                            |     0 -> 1                             |",
        " 70                                         |   open range is gfn [0x10, 0x14)       | invalidate.ts:51 addRangeLocked",
        " 77                                         |   spte[gfn 0x10 4K] = none             | tdp.ts:192 zapRangeLocked",
        " 85                                         |   vcpu0.requests + TlbFlush            | flush.ts:17 requestAndKick",
        " 86                                         |   vcpu0.mode = OutsideGuest (compare   | flush.ts:18 requestAndKick",
        "                                            |     fails)                             |",
        " 87                                         |   remote TLB flush done                |",
        " 93                                         | start returns, hva 0x7f0000010000      |",
        "102                                         | pte[hva 0x7f0000010000 4K]             | zap.ts:73 zapPtes",
        "                                            |   pfn 3 RW- AD -> none                 |",
        "104                                         | page[3].mapcount 1 -> 0                | zap.ts:60 dropMapping",
        "112                                         | host TLB flushed                       | gather.ts:34 flushHostTlb",
        "114                                         | page[3].refcount 2 -> 1                | page.ts:45 putPage",
        "118                                         | invalidate end, hva 0x7f0000010000     |",
        "126                                         | takes kvm.mmu_lock (write)             | rwlock.ts:68 drain",
        "129                                         |   kvm.mmu_invalidate_seq 0 -> 1        | invalidate.ts:62 endLocked",
        "131                                         |   kvm.mmu_invalidate_in_progress       | invalidate.ts:72 lowerCountLocked",
        "                                            |     1 -> 0                             |",
        "---- host0 does not run again ------------------------------------------------------------------------------------------",
        "167  takes kvm.mmu_lock (read)              |                                        | lock.ts:11 MmuLock.lockShared",
        "175    spte[gfn 0x10 4K]                    |                                        | tdp.ts:106 installAt",
        "         none -> pfn 3 RWX AD               |                                        |",
        "181    page[3].refcount 1 -> 0: freed       |                                        | page.ts:45 putPage",
        "188  tlb0 emptied                           |                                        | tlb.ts:169 tlbFlushAll",
        "191  vcpu0 enters guest mode                |                                        | vcpu.ts:54 enterGuest",
        "197  spte[gfn 0x10 4K] = pfn 3 RWX AD       |                                        | walk.ts:174 NestedWalk.fast",
        "197  tlb0: gva 0x10000 -> pfn 3             |                                        | tlb.ts:99 write",
        "197  frame 3+0x8 0x0 -> 0x2a                |                                        | access.ts:29 storeSized",
        "     gva 0x10008: guest stores to pfn 3+0x8 |                                        |",
        "     *** VIOLATED: no-use-after-free        |                                        |",
        "",
        "vcpu0 stored to pfn 3 through gva 0x10000, a translation made at step 197; pfn 3 has been free since step 182.",
        "",
        "shown     35 of 455 accesses; step numbers count all of them",
        "repeat    guestmmu explore fault-vs-munmap --without RetryUnderLock --replay g1.3.0a7f41c2",
      ]
    `);
  });

  test("a column for each actor, reads around another's write, the switches, and the end", () => {
    const trace = traceOf(lostWindow, {
      end: { kind: "violation", name: "no-stale-leaf", says: "The leaf of gfn 0x10 is stale." },
      rulesOff: ["SeqChecked"],
      model: "tso",
    });
    expect(raceTable(trace).split("\n")).toMatchInlineSnapshot(`
      [
        "VIOLATED  no-stale-leaf   scenario by-hand   profile v6.13   memory model tso   without SeqChecked   2 switches",
        "",
        "   vcpu0                         | vcpu1                         | place",
        "---------------------------------+-------------------------------+---------------------------",
        "0  kvm.mmu_invalidate_seq = 0    |                               | fault.ts:58 snapshot",
        "-- vcpu0 stops before retry.ts:41 retryReason -----------------------------------------------",
        "2                                | kvm.mmu_invalidate_seq 0 -> 1 | invalidate.ts:62 endLocked",
        "-- vcpu1 does not run again -----------------------------------------------------------------",
        "3  kvm.mmu_invalidate_seq = 1    |                               | retry.ts:41 retryReason",
        "   *** VIOLATED: no-stale-leaf   |                               |",
        "",
        "The leaf of gfn 0x10 is stale.",
        "",
        "shown     3 of 4 accesses; step numbers count all of them",
        "repeat    guestmmu explore by-hand",
      ]
    `);
  });

  test("an execution that ends well has no verdict", () => {
    const text = raceTable(traceOf(lostWindow));
    expect(text.split("\n")[0]).toBe("DONE   scenario by-hand   profile v6.13   2 switches");
    expect(text).not.toContain("***");
    expect(text).toContain("shown     3 of 4 accesses");
  });

  test("a turn in which nothing matters is one line with its functions", () => {
    const quiet = (at: string) =>
      access(LAYOUT.actorsBase + layout.ACTOR_STATS, { actor: 1, shared: false, at });
    const trace = traceOf([
      ...lostWindow,
      quiet("zap.ts:10 zapRange"),
      quiet("zap.ts:20 zapPtes"),
      quiet("page.ts:45 putPage"),
    ]);
    expect(raceTable(trace)).toContain("3 accesses: zapRange ... putPage");
  });

  test("a lock that nobody else takes is left out; one whose section is empty is one line; others indent", () => {
    const taken = (actor: number, lock: number) =>
      access(lock, {
        actor,
        shared: false,
        at: "lock.ts:24 MmuLock.lock",
        notes: [note("LockTaken", BigInt(lock), 1n, { sub: 1 })],
      });
    const dropped = (actor: number, lock: number) =>
      access(lock, {
        actor,
        shared: false,
        at: "lock.ts:27 MmuLock.unlock",
        notes: [note("LockDropped", BigInt(lock))],
      });
    const text = raceTable(
      traceOf([
        taken(0, LOCK),
        dropped(0, LOCK),
        taken(0, layout.ZONE_LOCK),
        dropped(0, layout.ZONE_LOCK),
        taken(1, LOCK),
        put(1, 2n),
        dropped(1, LOCK),
        put(0, 1n),
      ]),
    );
    expect(text).toContain("takes and drops kvm.mmu_lock (write)");
    expect(text).not.toContain("zone.lock");
    expect(text).toMatch(/takes kvm\.mmu_lock \(write\) .*\n.* {2}page\[7\]\.refcount 2 -> 1 /);
    expect(text).toMatch(/\| {6}/);
    expect(text).toContain("page[7].refcount 1 -> 0: freed");
    expect(text).not.toContain("drops kvm.mmu_lock\n");
  });

  test("verbose: every access and every event", () => {
    const trace = sampleTrace();
    const text = raceTable(trace, { verbose: true });
    const rows = text.split("\n").filter((line) => /^[ \d]{2}\d {2}/.test(line));
    expect(rows.length).toBe(trace.accesses.length);
    expect(text.match(/\* /g)!.length).toBe(
      trace.accesses.reduce((sum, { notes }) => sum + notes.length, 0) + 1,
    );
    expect(text).not.toContain("shown ");
  });

  test.each([80, 100, 120, 160])("fits %i columns for two actors, and ends no line with a space", (width) => {
    for (const verbose of [false, true]) {
      const lines = raceTable(sampleTrace(), { width, verbose }).split("\n").slice(1);
      for (const line of lines) {
        expect(line).toBe(line.trimEnd());
        if (!line.startsWith("repeat") && !line.startsWith("vcpu0 stored"))
          expect(line.length).toBeLessThanOrEqual(width);
      }
    }
  });

  test("five actors fit 120 columns", () => {
    const wide = { ...LAYOUT, vcpuCount: 3 };
    const actors = [0, 1, 2, 3, 4].map((index) => ({ name: `actor${index}`, kind: "host" as const, index }));
    const accesses = actors.map(({ index }) => put(index, BigInt(9 - index)));
    const text = raceTable(traceOf(accesses, { actors, layout: wide }));
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120);
    expect(text.split("\n").slice(2, 8)).toMatchInlineSnapshot(`
      [
        "   actor0           | actor1           | actor2           | actor3           | actor4           | place",
        "--------------------+------------------+------------------+------------------+------------------+-------------------",
        "0  page[7].refcount |                  |                  |                  |                  | page.ts:45 putPage",
        "     9 -> 8         |                  |                  |                  |                  |",
        "-- actor0 does not run again ---------------------------------------------------------------------------------------",
        "1                   | page[7].refcount |                  |                  |                  | page.ts:45 putPage",
      ]
    `);
  });

  test("colours only where they are asked for, and the same text without them", () => {
    const plain = raceTable(sampleTrace());
    const colored = raceTable(sampleTrace(), { color: true });
    expect(plain).not.toContain("\u001b");
    expect(colored).toContain("\u001b[31;1m");
    // eslint-disable-next-line no-control-regex
    const stripped = colored.replace(/\u001b\[[\d;]*m/g, "");
    expect(stripped.split("\n").map((line) => line.trimEnd())).toEqual(plain.split("\n"));
  });

  test("control characters of a name do not reach the terminal", () => {
    const text = raceTable(traceOf(lostWindow, { scenario: "a\u001b]0;taken\u0007b", repeat: "x\ny" }));
    expect(text.split("\n")[0]).toContain("scenario a?]0;taken?b");
    expect(text).toContain("repeat    x?y");
  });

  test("an execution without accesses says how it ended", () => {
    const trace = traceOf(lostWindow, { end: { kind: "deadlock", name: "", says: "Nobody can run." } });
    expect(raceTable({ ...trace, accesses: [], switches: 0 })).toContain("*** DEADLOCK");
  });
});

describe("wrapping", () => {
  test.each([
    ["a short text", 20, ["a short text"]],
    ["kvm.mmu_invalidate_in_progress 0 -> 1", 32, ["kvm.mmu_invalidate_in_progress", "  0 -> 1"]],
    ["one two three", 7, ["one two", "  three"]],
    ["abcdefghij", 4, ["abcd", "  ef", "  gh", "  ij"]],
    ["", 4, [""]],
  ])("%j in %i", (text, width, lines) => {
    expect(wrap(text, width)).toEqual(lines);
  });
});

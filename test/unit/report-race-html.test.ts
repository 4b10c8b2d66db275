import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { conflictsOf, raceTurns } from "../../src/report/race-lines.js";
import { raceHtml } from "../../src/report/race-html.js";
import { raceState, stateAt } from "../../src/report/race-state.js";
import { raceTable } from "../../src/report/race-table.js";
import { LAYOUT, access, note, sampleTrace, traceOf } from "./report-race-sample.js";

const SEQ = layout.KVM_INVALIDATE_SEQ;
const page = (pfn: number): number => LAYOUT.pagesBase + pfn * 64;

const small = traceOf(
  [
    access(SEQ, { at: "fault.ts:58 snapshot" }),
    access(SEQ, { actor: 1, kind: "store", after: 1n, at: "invalidate.ts:62 endLocked" }),
  ],
  { end: { kind: "violation", name: "no-stale-leaf", says: "It is <stale> & wrong." } },
);

/** What the page's script is given. */
function dataOf(html: string): {
  lines: { index: number; text: string; more: string[] }[];
  conflicts: { from: number; to: number }[];
} {
  const [, json] = /<script type="application\/json" id="race">(.*?)<\/script>/s.exec(html)!;
  return JSON.parse(json!) as ReturnType<typeof dataOf>;
}

describe("the race page", () => {
  test("of two accesses, cell by cell", () => {
    const html = raceHtml(small);
    const grid = html.slice(html.indexOf('<div class="grid"'), html.indexOf("</section>")).trim();
    expect(grid.split("\n")).toMatchInlineSnapshot(`
      [
        "<div class="grid" role="table" aria-label="Accesses in the order in which they happened" style="grid-template-columns:max-content repeat(2,minmax(0,1fr)) minmax(0,max-content)">",
        "<div class="head" role="row"><span role="columnheader" style="grid-area:1/1">step</span>",
        "<span role="columnheader" style="grid-area:1/2">vcpu0 <span class="kind">vcpu</span></span>",
        "<span role="columnheader" style="grid-area:1/3">vcpu1 <span class="kind">vcpu</span></span>",
        "<span role="columnheader" style="grid-area:1/4">place</span></div>",
        "<div class="lane" style="grid-area:2/2/6/3"></div>",
        "<div class="lane" style="grid-area:2/3/6/4"></div>",
        "<div class="row" role="row"><span class="step" role="cell" style="grid-area:2/1">0</span><span role="cell" style="grid-area:2/2;z-index:2" data-lane><button type="button" class="ev read" aria-label="step 0, vcpu0: kvm.mmu_invalidate_seq = 0, at fault.ts:58 snapshot" title="fault.ts:58 snapshot"><span class="w">kvm.mmu_invalidate_seq</span> <span class="w">= 0</span></button></span><span class="place" role="cell" style="grid-area:2/4">fault.ts:58 snapshot</span></div>",
        "<div class="row" role="row"><span class="switch" role="cell" style="grid-area:3/1/auto/-1">vcpu0 does not run again</span></div>",
        "<div class="row" role="row"><span class="step" role="cell" style="grid-area:4/1">1</span><span role="cell" style="grid-area:4/3;z-index:2" data-lane><button type="button" class="ev access" aria-label="step 1, vcpu1: kvm.mmu_invalidate_seq 0 -&gt; 1, at invalidate.ts:62 endLocked" title="invalidate.ts:62 endLocked"><span class="w">kvm.mmu_invalidate_seq</span> <span class="w">0 → 1</span></button></span><span class="place" role="cell" style="grid-area:4/4">invalidate.ts:62 endLocked</span></div>",
        "<div class="row" role="row"><span role="cell" style="grid-area:5/3;z-index:2"><div class="ev end">VIOLATED: no-stale-leaf</div></span></div>",
        "<svg class="arrows" aria-hidden="true"></svg></div>",
      ]
    `);
    expect(html).toContain('<p class="says">It is &lt;stale&gt; &amp; wrong.</p>');
    expect(dataOf(html).conflicts).toEqual([{ from: 0, to: 1 }]);
    expect(dataOf(html).lines[1]!.more).toEqual(["atomic store, 4 bytes at 0x2080"]);
  });

  test("refers to nothing outside itself", () => {
    const html = raceHtml(sampleTrace());
    expect(html.match(/(?:src|href|action)="[^"]*"/g)).toEqual(['href="data:,"']);
    expect(html.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|url\((?!#)|@import/);
  });

  test("holds the text of the race table, and one button for each of its lines", () => {
    const trace = sampleTrace();
    const html = raceHtml(trace);
    const lines = raceTurns(trace).flatMap((turn) => turn.lines);
    expect(html.match(/<button /g)!.length).toBe(lines.length);
    const [, pre] = /<pre>(.*?)<\/pre>/s.exec(html)!;
    const text = pre!
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&#39;", "'")
      .replaceAll("&amp;", "&");
    expect(text).toBe(raceTable(trace));
  });

  test("verbose has a button for each access and event", () => {
    const trace = sampleTrace();
    const told = trace.accesses.reduce((sum, { notes }) => sum + 1 + notes.length, 0);
    expect(raceHtml(trace, { verbose: true }).match(/<button /g)!.length).toBe(told);
  });

  test("shades the window: start light up to its return, then dark up to the end", () => {
    const shades = [
      ...raceHtml(sampleTrace()).matchAll(/class="shade (\w+)" style="grid-area:(\d+)\/1\/(\d+)/g),
    ];
    // Row 13 is the first line after the switch, row 21 the return of start, row 27 the end.
    expect(shades.map(([, kind, from, to]) => [kind, Number(from), Number(to)])).toEqual([
      ["start", 13, 21],
      ["open", 21, 27],
    ]);
  });

  test("a window that is not closed reaches to the last row", () => {
    const open = [note("NotifyStart", 0x1000n, 0x2000n)];
    const trace = traceOf([
      access(SEQ, { notes: open }),
      access(SEQ, { actor: 1, kind: "store", after: 1n }),
    ]);
    expect(raceHtml(trace)).toContain('class="shade start" style="grid-area:2/1/6/-1"');
  });

  test("markup in any text of the user stays text, in the page and in its data", () => {
    const taken = `</script><script>alert(1)</script>"'&`;
    const html = raceHtml({
      ...small,
      scenario: taken,
      repeat: taken,
      rulesOff: [taken],
      actors: small.actors.map((actor) => ({ ...actor, name: taken })),
      end: { ...small.end, name: taken, says: taken },
    });
    expect(html).not.toContain("<script>alert");
    expect(html.match(/<\/script>/g)!.length).toBe(2);
    expect(dataOf(html).lines[0]).toMatchObject({ actor: taken });
  });
});

describe("conflicts", () => {
  test("pair neighbours at one word, one of them a write, of different actors", () => {
    const read = (actor: number) => access(SEQ, { actor });
    const store = (actor: number) => access(SEQ, { actor, kind: "store", after: 1n });
    const trace = traceOf([read(0), read(1), store(1), store(0), read(0), read(1)]);
    const all = new Set(trace.accesses.keys());
    expect(conflictsOf(trace, all)).toEqual([{ from: 2, to: 3 }]);
    expect(conflictsOf(trace, new Set([0, 2, 5]))).toEqual([{ from: 0, to: 2 }]);
  });
});

describe("the state of an execution", () => {
  test("of the recorded race", () => {
    const trace = sampleTrace();
    const rows = raceState(trace);
    const at = (name: string, index: number): string =>
      stateAt(
        rows.find((row) => row.name === name)!,
        index,
      );
    const end = trace.accesses.length - 1;
    expect(rows.find(({ name }) => name === "page 3")).toMatchObject({
      kind: "page",
      initial: "1 held, epoch 0",
    });
    expect(at("page 3", end)).toBe("free, epoch 1");
    expect(at("gfn 0x11", 0)).toBe("pfn 4 RWX AD");
    expect(at("gfn 0x11", end)).toBe("none");
    expect(at("tlb0 gva 0x10000", 0)).toBe("");
    expect(at("tlb0 gva 0x10000", end)).toBe("pfn 3 W");
    expect(rows.map(({ kind }) => kind)).toEqual(
      [...rows.map(({ kind }) => kind)].sort((a, b) => {
        const order = ["window", "page", "pte", "spte", "tlb"];
        return order.indexOf(a) - order.indexOf(b);
      }),
    );
  });

  test("a page's two words are one state, whichever is met first", () => {
    const epoch = page(7) + layout.PAGE_EPOCH;
    const rows = raceState(
      traceOf([
        access(page(7), { before: 1n, after: 0n, kind: "modify" }),
        access(epoch, { before: 4n, after: 5n, kind: "store" }),
        access(page(7), { actor: 1, before: 0n, after: 1n, kind: "modify" }),
      ]),
    );
    expect(rows).toEqual([
      {
        kind: "page",
        name: "page 7",
        initial: "1 held, epoch 4",
        changes: [
          [0, "free, epoch 4"],
          [1, "free, epoch 5"],
          [2, "1 held, epoch 5"],
        ],
      },
    ]);
  });

  test("a flush empties the TLB of its vCPU, a drop one entry", () => {
    const fill = (vcpu: number, gva: bigint) => note("TlbFill", gva, 0x7001n, { detail: vcpu });
    const rows = raceState(
      traceOf([
        access(SEQ, { notes: [fill(0, 0x1000n), fill(0, 0x2000n), fill(1, 0x1000n)] }),
        access(SEQ, { notes: [note("TlbDrop", 0x1000n, 0n, { detail: 0 })] }),
        access(SEQ, { notes: [note("TlbFlush", 0n, 0n, { detail: 0 })] }),
      ]),
    );
    const states = rows.map((row) => [row.name, [0, 1, 2].map((index) => stateAt(row, index))]);
    expect(Object.fromEntries(states)).toEqual({
      "tlb0 gva 0x1000": ["pfn 7 W", "", ""],
      "tlb0 gva 0x2000": ["pfn 7 W", "pfn 7 W", ""],
      "tlb1 gva 0x1000": ["pfn 7 W", "pfn 7 W", "pfn 7 W"],
    });
  });
});

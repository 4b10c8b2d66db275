import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { perfettoTrace, type TraceEvent } from "../../src/report/perfetto.js";
import { access, note, sampleTrace, traceOf } from "./report-race-sample.js";

const SEQ = layout.KVM_INVALIDATE_SEQ;

/** What the trace-event format (JSON object form) demands of an event of each phase; what is wrong with one, or "". */
function wrongWith(event: TraceEvent): string {
  const number = (value: unknown): boolean =>
    typeof value === "number" && Number.isFinite(value) && value >= 0;
  if (typeof event.name !== "string" || event.name === "") return "name";
  if (!number(event.ts) || !Number.isInteger(event.pid) || !Number.isInteger(event.tid))
    return "ts, pid or tid";
  switch (event.ph) {
    case "X":
      return number(event.dur) && event.dur! > 0 ? "" : "dur";
    case "i":
      return event.s === "t" || event.s === "p" ? "" : "scope";
    case "C":
      return typeof event.args?.["value"] === "number" ? "" : "value";
    case "s":
    case "f":
      return number(event.id) && typeof event.cat === "string" && (event.ph === "s" || event.bp === "e")
        ? ""
        : "flow";
    case "M":
      return ["process_name", "thread_name", "thread_sort_index"].includes(event.name) && event.args
        ? ""
        : "metadata";
  }
}

describe("the Perfetto trace", () => {
  test("of two accesses", () => {
    const trace = traceOf(
      [
        access(SEQ, { at: "fault.ts:58 snapshot" }),
        access(SEQ, {
          actor: 1,
          kind: "store",
          after: 1n,
          at: "invalidate.ts:62 endLocked",
          notes: [note("HostFlush")],
        }),
      ],
      { end: { kind: "violation", name: "no-stale-leaf", says: "It is stale." } },
    );
    expect(perfettoTrace(trace).traceEvents.map((event) => JSON.stringify(event))).toMatchInlineSnapshot(`
      [
        "{"ph":"M","name":"process_name","pid":1,"tid":0,"ts":0,"args":{"name":"guestmmu by-hand"}}",
        "{"ph":"M","name":"thread_name","pid":1,"tid":1,"ts":0,"args":{"name":"vcpu0"}}",
        "{"ph":"M","name":"thread_sort_index","pid":1,"tid":1,"ts":0,"args":{"sort_index":0}}",
        "{"ph":"M","name":"thread_name","pid":1,"tid":2,"ts":0,"args":{"name":"vcpu1"}}",
        "{"ph":"M","name":"thread_sort_index","pid":1,"tid":2,"ts":0,"args":{"sort_index":1}}",
        "{"ph":"X","pid":1,"tid":1,"name":"snapshot","cat":"function","ts":0,"dur":1,"args":{"file":"assembly/kvm/fault.ts","line":58}}",
        "{"ph":"X","pid":1,"tid":1,"name":"kvm.mmu_invalidate_seq = 0","cat":"shared","ts":0,"dur":1,"args":{"place":"fault.ts:58 snapshot","step":0,"kind":"load"}}",
        "{"ph":"C","name":"kvm.mmu_invalidate_seq","pid":1,"tid":0,"ts":0,"args":{"value":0}}",
        "{"name":"order","cat":"conflict","pid":1,"id":1,"tid":1,"ts":0.5,"ph":"s"}",
        "{"ph":"X","pid":1,"tid":2,"name":"endLocked","cat":"function","ts":1,"dur":1,"args":{"file":"assembly/kvm/invalidate.ts","line":62}}",
        "{"ph":"X","pid":1,"tid":2,"name":"kvm.mmu_invalidate_seq 0 -> 1","cat":"shared","ts":1,"dur":1,"args":{"place":"invalidate.ts:62 endLocked","step":1,"kind":"store"}}",
        "{"ph":"C","name":"kvm.mmu_invalidate_seq","pid":1,"tid":0,"ts":1,"args":{"value":1}}",
        "{"ph":"i","cat":"event","pid":1,"tid":2,"ts":1.5,"s":"t","name":"host TLB flushed","args":{"event":"HostFlush"}}",
        "{"name":"order","cat":"conflict","pid":1,"id":1,"tid":2,"ts":1.5,"ph":"f","bp":"e"}",
        "{"ph":"i","cat":"end","pid":1,"ts":2,"s":"p","tid":2,"name":"violation no-stale-leaf","args":{"says":"It is stale."}}",
      ]
    `);
  });

  test("of the recorded race: every event is one of the format", () => {
    const { traceEvents, displayTimeUnit } = JSON.parse(
      JSON.stringify(perfettoTrace(sampleTrace())),
    ) as ReturnType<typeof perfettoTrace>;
    expect(displayTimeUnit).toBe("ns");
    expect(traceEvents.filter((event) => wrongWith(event) !== "")).toEqual([]);
  });

  test("slices of one track nest: a function holds its accesses, and none overlaps another", () => {
    const trace = sampleTrace();
    for (const tid of [1, 2]) {
      const open: number[] = [];
      const slices = perfettoTrace(trace).traceEvents.filter(
        (event) => event.ph === "X" && event.tid === tid,
      );
      for (const { ts, dur } of slices) {
        while (open.length > 0 && open.at(-1)! <= ts) open.pop();
        expect(ts + dur!).toBeLessThanOrEqual(open.at(-1) ?? Infinity);
        open.push(ts + dur!);
        expect(open.length).toBeLessThanOrEqual(2);
      }
    }
  });

  test("one slice an access, an instant an event, and flows that begin before they end", () => {
    const trace = sampleTrace();
    const { traceEvents } = perfettoTrace(trace);
    const count = (keep: (event: TraceEvent) => boolean): number => traceEvents.filter(keep).length;
    expect(count(({ cat }) => cat === "shared" || cat === "local")).toBe(trace.accesses.length);
    expect(count(({ cat }) => cat === "event")).toBe(
      trace.accesses.reduce((sum, { notes }) => sum + notes.length, 0),
    );
    const flows = traceEvents.filter(({ ph }) => ph === "s");
    expect(flows.length).toBe(7);
    for (const { id, ts, tid } of flows) {
      const end = traceEvents.find((event) => event.ph === "f" && event.id === id)!;
      expect(end.ts).toBeGreaterThan(ts);
      expect(end.tid).not.toBe(tid);
    }
  });

  test("a track for each row of the race page's state, whose slices follow it without a gap", () => {
    const trace = sampleTrace();
    const { traceEvents } = perfettoTrace(trace);
    const track = (name: string): TraceEvent[] => {
      const { tid } = traceEvents.find(({ ph, args }) => ph === "M" && args?.["name"] === name)!;
      return traceEvents.filter((event) => event.ph === "X" && event.tid === tid);
    };
    expect(track("spte gfn 0x10").map(({ name }) => name)).toEqual(["none", "pfn 3 RWX AD"]);
    expect(track("pte hva 0x7f0000010000").map(({ name }) => name)).toEqual(["pfn 3 RW- AD", "none"]);
    const page = track("page 3");
    expect(page.at(-1)!.name).toBe("free, epoch 1");
    let now = 0;
    for (const { ts, dur } of page) {
      expect(ts).toBe(now);
      now = ts + dur!;
    }
    expect(now).toBe(trace.accesses.length);
  });

  test("counters follow the retry protocol", () => {
    const values = (name: string): unknown[] =>
      perfettoTrace(sampleTrace())
        .traceEvents.filter((event) => event.ph === "C" && event.name === name)
        .map(({ args }) => args!["value"]);
    expect(values("kvm.mmu_invalidate_in_progress")).toEqual([0, 1, 0]);
    expect(values("kvm.mmu_invalidate_seq")).toEqual([0, 1]);
    expect(values("kvm.mn_active_invalidate_count")).toEqual([0, 1, 0]);
  });
});

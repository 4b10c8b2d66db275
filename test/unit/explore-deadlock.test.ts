// A deadlock says who waits for whom, as far as the words and the past tell.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { deadlockInWords, type Past } from "../../src/explore/deadlock.js";
import { explore } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { LAYOUT, note } from "./report-race-sample.js";

const MMU_LOCK = layout.KVM_MMU_LOCK;
const SLOTS_LOCK = layout.KVM_SLOTS_LOCK;
const READER_OF_VCPU0 = LAYOUT.actorsBase + layout.GRACE_MMU_READER;
const COUNT = layout.KVM_MN_ACTIVE_COUNT;

const actors = (vcpu0: number | undefined, host0: number | undefined) => [
  { name: "vcpu0", index: 0, waitsFor: vcpu0 },
  { name: "host0", index: 2, waitsFor: host0 },
];
const says = (vcpu0: number | undefined, host0: number | undefined, past: Past[], words: object): string =>
  deadlockInWords(
    LAYOUT,
    actors(vcpu0, host0),
    past,
    (address) => (words as Record<number, number>)[address]!,
  );
const raised: Past = { actor: 1, address: COUNT, function: "invalidateStart", writes: true, notes: [] };
const read: Past = { ...raised, actor: 0, function: "snapshot", writes: false };

describe("a deadlock", () => {
  test("of two locks is a cycle, contended or not", () => {
    expect(says(MMU_LOCK, SLOTS_LOCK, [], { [MMU_LOCK]: 3, [SLOTS_LOCK]: (0x80000000 | 1) >> 0 })).toBe(
      "vcpu0 waits for kvm.mmu_lock, held by host0; host0 waits for kvm.slots_lock, held by vcpu0",
    );
  });
  test("of a writer and a reader who has gone", () => {
    expect(says(undefined, READER_OF_VCPU0, [], { [READER_OF_VCPU0]: 1 })).toBe(
      "host0 waits for kvm.mmu_lock.reader[vcpu0], held by vcpu0, which is done; vcpu0 is done",
    );
  });
  test("at a word that is no lock: who wrote it last, whoever read it", () => {
    expect(says(COUNT, undefined, [raised, read], { [COUNT]: 1 })).toBe(
      "vcpu0 waits for kvm.mn_active_invalidate_count, written last by host0 in invalidateStart; host0 is done",
    );
    expect(says(COUNT, undefined, [read], { [COUNT]: 1 })).toContain(", which nobody has written;");
  });
  test("what those who are done have not given back", () => {
    const pin = (kind: "PinTaken" | "PinDropped", pfn: bigint): Past => ({
      ...raised,
      notes: [note(kind, pfn)],
    });
    const past = [pin("PinTaken", 1n), pin("PinTaken", 2n), pin("PinDropped", 2n)];
    expect(says(COUNT, undefined, past, { [COUNT]: 1 })).toMatch(
      /; host0 is done and still has page 1 pinned$/,
    );
  });
  test("of a truncate that a long-term pin keeps waiting", () => {
    const scenario = SCENARIOS.find(({ name }) => name === "host-dax-longterm-pin") as Scenario;
    const [found] = explore(scenario, { without: ["LongtermRefusedOnDax"] }).violations;
    expect(found).toMatchObject({ kind: "deadlock", name: "deadlock" });
    expect(found!.says).toBe(
      "host1 waits for device[1].puts, written last by host1 in putDevicePage; " +
        "host0 is done and still has page 1 pinned",
    );
  });
});

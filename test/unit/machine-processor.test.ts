// Processor: a vCPU without KVM, through the library's view of it.
import { afterEach, describe, expect, test } from "vitest";
import { describeFault, Machine, type NestedPaging, type Processor } from "../../src/index.js";
import { refused } from "./machine-fixture.js";

const TABLE = 0x67n;
const EPT_TABLE = 0x107n;
const EPT_PAGE = 0x337n;
const GVA = 0x40_0000n;

/** Frames that a test has taken: given back before the fixture closes the books. */
let taken: { machine: Machine; pfn: number }[] = [];
function takeFrame(machine: Machine): bigint {
  const pfn = machine.mm.allocateRaw();
  taken.push({ machine, pfn });
  return BigInt(pfn) << 12n;
}
afterEach(() => {
  for (const { machine, pfn } of taken) machine.mm.freeRaw(pfn);
  taken = [];
});

/** A guest of four tables and a page at its frames' own addresses, and nested tables that map those. */
function build(kind: "ept" | "npt"): {
  machine: Machine;
  cpu: Processor;
  top: bigint;
  page: bigint;
  leaf: bigint;
} {
  const machine = Machine.create({ frames: 512, maxphyaddr: 40 });
  const cpu = machine.processor();
  const frame = (): bigint => takeFrame(machine);
  const cr3 = frame();
  let at = cr3;
  for (let level = 4; level >= 2; level--) {
    const next = frame();
    cpu.writePhysical(at + 8n * ((GVA >> BigInt(3 + 9 * level)) & 0x1ffn), next | TABLE);
    at = next;
  }
  const page = frame();
  cpu.writePhysical(at + 8n * ((GVA >> 12n) & 0x1ffn), page | TABLE);
  const top = frame();
  at = top;
  for (let level = 4; level >= 2; level--) {
    const next = frame();
    cpu.writePhysical(at, next | (kind === "ept" ? EPT_TABLE : TABLE));
    at = next;
  }
  for (let i = 0n; i < 512n; i++)
    cpu.writePhysical(at + 8n * i, (i << 12n) | (kind === "ept" ? EPT_PAGE : TABLE));
  for (const [name, value] of [
    ["efer", 0x900n],
    ["cr4", 0x20n],
    ["cr0", 0x8001_0001n],
    ["cr3", cr3],
  ] as const) {
    expect(cpu.set(name, value)).toEqual({ kind: "ok" });
  }
  return { machine, cpu, top, page, leaf: at + 8n * (page >> 12n) };
}
const nestedOf = (kind: "ept" | "npt", top: bigint): NestedPaging =>
  kind === "ept" ? { kind, eptp: top | 0x5en } : { kind, ncr3: top };

test("what an embedder switched on is off once KVM loads its own tables", () => {
  const machine = Machine.create({ hostMemory: 16 << 20, vcpus: 1 });
  const hva = machine.mm.mmap(1 << 20);
  machine.memslots.add({ gpa: 0, hva, length: 1 << 20 });
  const cpu = machine.processor(0);
  expect(cpu.nest({ kind: "ept", eptp: 0x101en, modeBasedExecute: true })).toEqual({ kind: "ok" });
  expect(machine.vcpu(0).fetch(0x5000n, 64).kind).toBe("ok");
  expect(machine.vcpu(0).get("secondaryControls")).toBe(0n);
});

describe.each(["ept", "npt"] as const)("%s", (kind) => {
  test("24 references, in the format of the nested tables", () => {
    const { cpu, top, page } = build(kind);
    expect(cpu.nest(nestedOf(kind, top))).toEqual({ kind: "ok" });
    const { result, steps } = cpu.translate(GVA + 5n);
    expect(result).toMatchObject({ kind: "ok", gpa: page + 5n, hpa: page + 5n, pageShift: 12 });
    expect(steps).toHaveLength(24);
    const formats = steps.filter((s) => s.dimension === "nested").map((s) => s.format);
    expect(new Set(formats)).toEqual(new Set([kind === "ept" ? "ept" : "ordinary"]));
    expect(steps.at(-1)!.flags).toEqual(
      kind === "ept" ? ["R", "W", "X", "A", "D"] : ["P", "RW", "US", "A", "D"],
    );
    expect(cpu.access(GVA + 5n, "write")).toEqual({ kind: "ok", hpa: page + 5n });
  });
  test("an exit in words", () => {
    const { cpu, top, page, leaf } = build(kind);
    cpu.nest(nestedOf(kind, top));
    cpu.writePhysical(leaf, 0n);
    const fault = cpu.access(GVA, "write");
    if (fault.kind === "ok") throw new Error("no exit");
    const text = describeFault(fault);
    if (kind === "ept") {
      expect(fault).toEqual({ kind: "ept-violation", gpa: page, qualification: 0x182 });
      expect(text).toContain("write of the page, which EPT does not map");
    } else {
      expect(fault).toEqual({ kind: "nested-page-fault", gpa: page, exitInfo1: 0x1_0000_0006n });
      expect(text).toContain("write of the page, which the nested tables do not map (EXITINFO1 0x100000006)");
    }
  });
});

test("a page-modification log", () => {
  const { machine, cpu, top, page, leaf } = build("ept");
  const address = takeFrame(machine);
  cpu.nest({ kind: "ept", eptp: top | 0x5en, log: { address, index: 0 } });
  cpu.writePhysical(leaf, page | (EPT_PAGE & ~0x200n));
  expect(cpu.access(GVA, "write").kind).toBe("ok");
  expect(cpu.readPhysical(address)).toBe(page);
  expect(cpu.get("pmlIndex")).toBe(0xffffn);
  cpu.writePhysical(leaf, page | (EPT_PAGE & ~0x200n));
  cpu.invept("all");
  expect(cpu.access(GVA, "write")).toMatchObject({ kind: "pml-full", gpa: page });
  expect(cpu.nest(null)).toEqual({ kind: "ok" });
  expect(cpu.get("eptp")).toBe(0n);
});

test("instructions that invalidate, and what they refuse", () => {
  const { cpu, top, leaf } = build("ept");
  cpu.set("vpid", 3n);
  cpu.nest({ kind: "ept", eptp: top | 0x5en, modeBasedExecute: false });
  cpu.access(GVA);
  const held = cpu.readPhysical(leaf);
  cpu.writePhysical(leaf, 0n);
  expect(cpu.access(GVA).kind).toBe("ok");
  cpu.writePhysical(leaf, held);
  for (const drop of [
    () => cpu.invlpg(GVA),
    () => cpu.invpcid("address", 0, GVA),
    () => cpu.invpcid("context"),
    () => cpu.invpcid("all-and-global"),
    () => cpu.invpcid("all"),
    () => cpu.invept("context"),
    () => cpu.invept("all"),
    () => cpu.invvpid("address", 3, GVA),
    () => cpu.invvpid("context", 3),
    () => cpu.invvpid("all"),
    () => cpu.invvpid("context-but-global", 3),
  ]) {
    cpu.access(GVA);
    const entry = cpu.readPhysical(leaf);
    cpu.writePhysical(leaf, 0n);
    expect(drop()).toEqual({ kind: "ok" });
    expect(cpu.access(GVA).kind).toBe("ept-violation");
    cpu.writePhysical(leaf, entry);
  }
  expect(cpu.invpcid("context", 5)).toEqual({ kind: "general-protection" });
  expect(cpu.invvpid("context", 0)).toEqual({ kind: "vm-fail" });
  expect(cpu.set("nestedControl", 1n)).toEqual({ kind: "unsupported" });
  cpu.vmTransition();
  cpu.flushTlb();
  cpu.reset();
  expect(cpu.get("eptp")).toBe(0n);
});

test("what it refuses", () => {
  const { machine, cpu, top } = build("npt");
  refused("USAGE", () => cpu.get("cr9" as "cr0"));
  refused("USAGE", () => cpu.nest({ kind: "shadow" as "npt", ncr3: top }));
  refused("USAGE", () => cpu.nest({ kind: "npt", ncr3: top, levels: 3 as 4 }));
  refused("USAGE", () => cpu.invpcid("everything" as "all"));
  refused("ADDRESS_UNALIGNED", () => cpu.readPhysical(4n));
  refused("ADDRESS_RANGE", () => cpu.writePhysical(512n << 12n, 0n));
  refused("USAGE", () => machine.processor(1));
  machine.memslots.add({ gpa: 0n, hva: machine.mm.mmap(4096), length: 4096 });
  cpu.reset();
  machine.vcpu(0).read(0n);
  refused("USAGE", () => cpu.translate(GVA));
});

// The window table: tables anywhere in 52 bits of physical address, however few windows there are.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";

const { Access, Outcome, Register } = layout;
const GVA = 0xffff_8765_4321_0123n;
const FLAGS = layout.PTE_P | layout.PTE_RW | layout.PTE_US;

/** Physical memory as a map of words; the walks of `access` ask for it page by page. */
class Image {
  readonly words = new Map<bigint, bigint>();
  loads = 0;

  constructor(
    readonly machine: CoreInstance,
    readonly root: bigint,
  ) {
    machine.set(Register.Efer, layout.EFER_LME);
    machine.set(Register.Cr4, layout.CR4_PAE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
    machine.set(Register.Cr3, root);
  }
  map(gva: bigint, frames: readonly bigint[]): void {
    let table = this.root;
    for (const [i, frame] of frames.entries()) {
      this.words.set(table + 8n * ((gva >> BigInt(39 - 9 * i)) & 0x1ffn), frame | FLAGS);
      table = frame;
    }
  }
  access(gva: bigint, access: number, effects = 0): number {
    const { core, view } = this.machine;
    for (;;) {
      const outcome = core.translateInWindows(0, gva, access, effects);
      if (outcome !== Outcome.Missing) return outcome;
      const page = this.machine.walk().pa & ~0xfffn;
      const at = core.windowPut(page) >>> 0;
      new Uint8Array(view.buffer, at, 4096).fill(0);
      for (const [pa, value] of this.words) {
        if ((pa & ~0xfffn) === page) view.setBigUint64(at + Number(pa & 0xfffn), value, true);
      }
      this.loads++;
    }
  }
}

describe("windows", () => {
  test("hold tables above 4 GiB, up to bit 51", () => {
    const machine = new CoreInstance({ frameCount: 4, windowCount: 8, maxphyaddr: 52 });
    const image = new Image(machine, 0x8_0000_0000_1000n);
    image.map(GVA, [0x1_0000_0000n, 0xf_ffff_ffff_f000n, 0x7f_ffff_f000n, 0xa_bcde_f012_3000n]);
    expect(image.access(GVA, Access.Read)).toBe(Outcome.Ok);
    expect(machine.walk().pa).toBe(0xa_bcde_f012_3123n);
    expect(machine.walk().steps.map((s) => s.pa & ~0xfffn)).toEqual([
      0x8_0000_0000_1000n,
      0x1_0000_0000n,
      0xf_ffff_ffff_f000n,
      0x7f_ffff_f000n,
    ]);
    expect(image.loads).toBe(4);
  });

  test("are dropped all at once when they are full, and walks still end", () => {
    const machine = new CoreInstance({ frameCount: 4, windowCount: 8 });
    const image = new Image(machine, 0x10_0000_1000n);
    const expected = new Map<bigint, bigint>();
    for (let i = 0n; i < 40n; i++) {
      const gva = GVA + (i << 30n);
      const page = 0x20_0000_0000n + (i << 12n);
      image.map(gva, [0x10_0000_2000n, 0x11_0000_0000n + (i << 12n), 0x12_0000_0000n + (i << 12n), page]);
      expected.set(gva, page + 0x123n);
    }
    for (let round = 0; round < 2; round++) {
      for (const [gva, pa] of expected) {
        expect(image.access(gva, Access.Read)).toBe(Outcome.Ok);
        expect(machine.walk().pa).toBe(pa);
      }
    }
    expect(image.loads).toBeGreaterThan(80);
  });

  test("take accessed and dirty flags, unless the walk is quiet", () => {
    const machine = new CoreInstance({ frameCount: 4, windowCount: 8 });
    const image = new Image(machine, 0x10_0000_1000n);
    image.map(GVA, [0x10_0000_2000n, 0x10_0000_3000n, 0x10_0000_4000n, 0x10_0000_5000n]);
    const leaf = 0x10_0000_4000n + 8n * ((GVA >> 12n) & 0x1ffn);
    const now = (): bigint => machine.view.getBigUint64(machine.core.windowFind(leaf) >>> 0, true);
    image.access(GVA, Access.Write, 0);
    expect(now()).toBe(0x10_0000_5000n | FLAGS);
    image.access(GVA, Access.Write, 1);
    expect(now()).toBe(0x10_0000_5000n | FLAGS | layout.PTE_A | layout.PTE_D);
  });

  test("a machine without windows has none to give", () => {
    const machine = new CoreInstance({ frameCount: 4, windowCount: 0 });
    expect(machine.core.windowPut(0x1000n)).toBe(0);
    expect(machine.core.windowFind(0x1000n)).toBe(0);
    machine.core.windowClear();
  });
});

test("a batch translates what it can and says why for the rest", () => {
  const machine = new CoreInstance({ frameCount: 16, batchSize: 32 });
  machine.set(Register.Efer, layout.EFER_LME);
  machine.set(Register.Cr4, layout.CR4_PAE);
  machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
  machine.set(Register.Cr3, 0x1000n);
  for (const [at, entry] of [
    [0x1000n, 0x2000n],
    [0x2000n, 0x3000n],
    [0x3000n, 0x4000n],
    [0x4000n + 8n, 0x5000n],
  ] as const) {
    machine.writePhysical(at, entry | FLAGS);
  }
  const batch = machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
  const addresses = [0x1234n, 0x2234n, 0x8000_0000_0000n, 0x1008n];
  addresses.forEach((gva, i) => machine.view.setBigUint64(batch + 8 * i, gva, true));
  // One more than the buffer holds: left out.
  expect(machine.core.translateBatch(0, 5, Access.Write)).toBe(2);
  const failed = (outcome: number, error: number): bigint =>
    layout.BATCH_FAILED | BigInt(outcome) | (BigInt(error) << 16n);
  expect(addresses.map((_, i) => machine.view.getBigUint64(batch + 8 * i, true))).toEqual([
    0x5234n,
    failed(Outcome.PageFault, layout.PFERR_WR),
    failed(Outcome.GeneralProtection, 0),
    0x5008n,
  ]);
});

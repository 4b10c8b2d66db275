// Each cell of the table of docs/tlb.md in the core: an entry is made, the operation run, and the entry is there or not as the
// cell says. Once for an entry that has everything in common with the operation, once for each thing that it may not have.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { KINDS, ROWS, tableText, type Cell, type Kind, type Row } from "../tlb-table.js";

const { Access, MachineOption, Register } = layout;
const OPTIONS = MachineOption.Page1GB | MachineOption.EptAccessedDirty;
const TABLE = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;
const EPT_TABLE = layout.EPT_RWX | layout.EPT_A;
const EPT_PAGE = EPT_TABLE | layout.EPT_D | layout.EPT_MEMTYPE_WB;
const FRAMES = 512n;
/** Guest-physical addresses from here lead to the same frames once more. */
const ALIAS = 1n << 39n;
const ADDRESS_A = 0x40_1000n;
const ADDRESS_B = (5n << 39n) | (3n << 30n) | (7n << 21n) | 0x2000n;

/** Everything an entry may bear. */
interface Bears {
  vpid: bigint;
  pcid: bigint;
  gva: bigint;
  eptp: bigint;
}

interface Tables {
  cr3: bigint;
  /** Page of the last table, and the page mapped, of each address: guest-physical. */
  table: Map<bigint, bigint>;
  page: Map<bigint, bigint>;
}

/** A processor with the same tables in three views: without EPT, and over two EPT roots. */
class Bench {
  readonly machine: CoreInstance;
  private next = 1n;
  readonly plain: Tables;
  readonly global: Tables;
  readonly nested: Tables;
  readonly nestedGlobal: Tables;
  readonly epts: [bigint, bigint];
  private readonly image: Uint8Array;

  constructor(architectural: boolean, structureEntries: number) {
    const options = OPTIONS | (architectural ? MachineOption.ArchitecturalTlb : 0);
    this.machine = new CoreInstance(
      { frameCount: Number(FRAMES), options, walkCacheEntries: 64, structureEntries, tlbEntries: 1024 },
      architectural ? { choose: () => 0 } : undefined,
    );
    this.plain = this.guest(0n, 0n);
    this.global = this.guest(0n, layout.PTE_G);
    this.nested = this.guest(ALIAS, 0n);
    this.nestedGlobal = this.guest(ALIAS, layout.PTE_G);
    this.epts = [this.ept(), this.ept()];
    const at = this.machine.frame(0n);
    this.image = new Uint8Array(this.machine.view.buffer, at, Number(FRAMES) * 4096).slice();
  }
  private frame(): bigint {
    if (this.next >= FRAMES) throw new Error("out of frames");
    return this.next++ << 12n;
  }
  /** Maps ADDRESS_A in frames, and ADDRESS_B in tables and a page `offset` beyond them. */
  private guest(offset: bigint, leaf: bigint): Tables {
    const cr3 = this.frame();
    const table = new Map<bigint, bigint>();
    const page = new Map<bigint, bigint>();
    for (const [gva, beyond] of [
      [ADDRESS_A, 0n],
      [ADDRESS_B, offset],
    ] as const) {
      let at = cr3;
      for (let level = 4; level >= 1; level--) {
        const index = (gva >> BigInt(3 + 9 * level)) & 0x1ffn;
        const frame = this.frame();
        this.machine.writePhysical(at + 8n * index, (frame + beyond) | TABLE | (level === 1 ? leaf : 0n));
        if (level === 2) table.set(gva, frame + beyond);
        if (level === 1) page.set(gva, frame + beyond);
        at = frame;
      }
    }
    return { cr3, table, page };
  }
  private ept(): bigint {
    const top = this.frame();
    for (const base of [0n, ALIAS]) {
      let at = top;
      for (let level = 4; level >= 2; level--) {
        const frame = this.frame();
        this.machine.writePhysical(at + 8n * ((base >> BigInt(3 + 9 * level)) & 0x1ffn), frame | EPT_TABLE);
        at = frame;
      }
      for (let i = 0n; i < FRAMES; i++) this.machine.writePhysical(at + 8n * i, (i << 12n) | EPT_PAGE);
    }
    return top | layout.EPTP_WB_4LEVEL | layout.EPTP_AD;
  }

  tables(kind: Kind): Tables {
    if (kind.startsWith("linear")) return kind === "linear global" ? this.global : this.plain;
    return kind === "combined global" ? this.nestedGlobal : this.nested;
  }
  private cr4(pcide: boolean): bigint {
    return layout.CR4_PAE | layout.CR4_PGE | (pcide ? layout.CR4_PCIDE : 0n);
  }
  /** A new processor, its tables as they were, in the context of an entry. */
  begin(kind: Kind, bears: Bears, pcide: boolean): void {
    const { machine } = this;
    new Uint8Array(machine.view.buffer, machine.frame(0n), this.image.length).set(this.image);
    machine.core.cpuReset(0);
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, this.cr4(false));
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
    machine.set(Register.Cr3, this.tables(kind).cr3);
    if (pcide) machine.set(Register.Cr4, this.cr4(true));
    this.enter(kind, bears, pcide);
  }
  /** Goes to the context of an entry, and flushes nothing on the way. */
  enter(kind: Kind, bears: Bears, pcide: boolean): void {
    const { machine } = this;
    machine.set(Register.Vpid, bears.vpid);
    machine.set(Register.Eptp, kind.startsWith("linear") ? 0n : bears.eptp);
    if (pcide) machine.set(Register.Cr3, this.tables(kind).cr3 | bears.pcid | layout.CR3_NO_FLUSH);
  }
  access(gva: bigint): void {
    expect(this.machine.core.tlbAccess(0, gva, Access.Read)).not.toBe(0);
  }
  /** Makes the next access to the address fault. */
  fault(kind: Kind, gva: bigint, eptp: bigint, dimension: "guest" | "nested"): void {
    const tables = this.tables(kind);
    const frame = (gpa: bigint): bigint => gpa & (ALIAS - 1n);
    if (dimension === "guest") {
      const at = frame(tables.table.get(gva)!) + 8n * ((gva >> 12n) & 0x1ffn);
      this.machine.writePhysical(at, this.machine.readPhysical(at) & ~layout.PTE_P);
      return;
    }
    // A violation of the guest-physical address that the entry is of: of the last table, or of the page.
    const gpa = kind === "guest-physical" ? tables.table.get(gva)! : tables.page.get(gva)!;
    let table = eptp & layout.PTE_ADDRESS;
    const at = (level: number): bigint => table + 8n * ((gpa >> BigInt(3 + 9 * level)) & 0x1ffn);
    for (let level = 4; level >= 2; level--)
      table = this.machine.readPhysical(at(level)) & layout.PTE_ADDRESS;
    this.machine.writePhysical(at(1), 0n);
  }

  private u32(at: number): number {
    return this.machine.view.getUint32(at, true);
  }
  private u64(at: number): bigint {
    return this.machine.view.getBigUint64(at, true);
  }
  private cpu(offset: number): number {
    return this.u32(this.machine.actor(0) + offset);
  }
  /** True if the processor still has the entry, as its words in memory say. */
  has(kind: Kind, bears: Bears): boolean {
    const ep4ta = kind.startsWith("linear") ? 0n : (bears.eptp >> 12n) + 1n;
    const context =
      bears.pcid | (bears.vpid << layout.TLB_CONTEXT_VPID_SHIFT) | (ep4ta << layout.TLB_CONTEXT_EP4TA_SHIFT);
    if (kind === "guest-physical") return this.hasRow(bears);
    if (kind.endsWith("structure")) return this.hasStructure(kind, bears, context);
    const page = bears.gva >> 12n;
    const entry =
      this.cpu(layout.CPU_TLB_BASE) +
      ((Number(page) << layout.TLB_ENTRY_SHIFT) & this.cpu(layout.CPU_TLB_MASK));
    if (this.u64(entry) !== page || this.u64(entry + layout.TLB_CONTEXT) !== context) return false;
    const made = this.u32(entry + layout.TLB_GENERATION);
    if (made === this.cpu(layout.CPU_GENERATION)) return true;
    const global = (this.u64(entry + layout.TLB_RIGHTS) & layout.TRANSLATION_GLOBAL) !== 0n;
    return global && made !== 0 && made >= this.cpu(layout.CPU_KEPT_GENERATION);
  }
  private hasRow({ gva, eptp }: Bears): boolean {
    const gpa = this.nested.table.get(gva)!;
    const pfn = (eptp & layout.PTE_ADDRESS) >> 12n;
    const flags = (((eptp >> 6n) & 1n) << 63n) | (((eptp >> 5n) & 1n) << 62n);
    const tag = gpa | (pfn & 0xfffn) | ((pfn >> 12n) << 52n) | flags;
    const base = this.cpu(layout.CPU_WALK_CACHE_BASE);
    const row =
      base + ((Number(gpa >> 12n) << layout.WALK_CACHE_ENTRY_SHIFT) & this.cpu(layout.CPU_WALK_CACHE_MASK));
    return (
      this.u64(row + layout.WALK_CACHE_TAG) === tag &&
      this.u32(row + layout.WALK_CACHE_GENERATION) === this.cpu(layout.CPU_TABLES_GENERATION)
    );
  }
  /** The row of level 2: of the linear address, or of the guest-physical address of the page. */
  private hasStructure(kind: Kind, { gva, eptp }: Bears, context: bigint): boolean {
    const byGpa = kind === "guest-physical structure";
    const address = byGpa ? this.nested.page.get(gva)! : gva;
    const tag = ((address >> 21n) << 21n) | 2n | (byGpa ? layout.STRUCTURE_GUEST_PHYSICAL : 0n);
    const wanted = byGpa ? ((eptp >> 12n) + 1n) << layout.TLB_CONTEXT_EP4TA_SHIFT : context;
    const base = this.cpu(layout.CPU_STRUCTURES_BASE);
    const generation = this.cpu(byGpa ? layout.CPU_TABLES_GENERATION : layout.CPU_GENERATION);
    for (
      let row = base;
      row <= base + this.cpu(layout.CPU_STRUCTURES_MASK);
      row += 1 << layout.STRUCTURE_SHIFT
    ) {
      if (this.u64(row + layout.STRUCTURE_TAG) !== tag) continue;
      if (this.u64(row + layout.STRUCTURE_CONTEXT) !== wanted) continue;
      if (this.u32(row + layout.STRUCTURE_GENERATION) === generation) return true;
    }
    return false;
  }
}

/** What an entry may not have in common with the operation, by the letters of a cell. */
const OTHER: Record<string, (bears: Bears, bench: Bench) => Bears> = {
  V: (bears) => ({ ...bears, vpid: 2n }),
  P: (bears) => ({ ...bears, pcid: 2n }),
  A: (bears) => ({ ...bears, gva: ADDRESS_B }),
  E: (bears, bench) => ({ ...bears, eptp: bench.epts[1] }),
};

/** What entries of a kind bear. */
const BEARS: Record<Kind, string> = {
  linear: "VPA",
  "linear global": "VPA",
  "linear structure": "VPA",
  combined: "VPAE",
  "combined global": "VPAE",
  "combined structure": "VPAE",
  "guest-physical": "AE",
  "guest-physical structure": "AE",
};

function runCell(bench: Bench, row: Row, kind: Kind, cell: Cell): string[] {
  const { pcide = true, vpid = 1n } = row;
  const same: Bears = { vpid, pcid: pcide ? 1n : 0n, gva: ADDRESS_A, eptp: bench.epts[0] };
  const wrong: string[] = [];
  const letters = [...BEARS[kind]].filter((letter) => pcide || letter !== "P");
  for (const letter of ["", ...letters]) {
    const bears = letter === "" ? same : OTHER[letter]!(same, bench);
    bench.begin(kind, bears, pcide);
    bench.access(bears.gva);
    if (!bench.has(kind, bears)) wrong.push(`${row.name}, ${kind}: no entry was made (${letter})`);
    bench.enter(kind, same, pcide);
    if (!bench.has(kind, bears)) wrong.push(`${row.name}, ${kind}: the entry went on the way (${letter})`);
    row.run(bench.machine, {
      ...{ gva: same.gva, vpid: same.vpid, pcid: same.pcid, eptp: same.eptp },
      cr3: bench.tables(kind).cr3,
      cr4: layout.CR4_PAE | layout.CR4_PGE | (pcide ? layout.CR4_PCIDE : 0n),
      fault: (dimension) => bench.fault(kind, same.gva, same.eptp, dimension),
    });
    const dropped = cell !== null && !cell.includes(letter === "" ? "none" : letter);
    if (bench.has(kind, bears) === dropped) {
      const which = letter === "" ? "that has all in common" : `of another ${letter}`;
      wrong.push(`${row.name}: a ${kind} entry ${which} ${dropped ? "is kept" : "is dropped"}`);
    }
  }
  return wrong;
}

function columnsOf(row: Row): (readonly [Kind, Cell])[] {
  return KINDS.map((kind, i) => [kind, row.cells[i]!] as const).filter(
    ([kind]) => row.only === undefined || kind.startsWith("linear") === (row.only === "linear"),
  );
}

describe.each([
  ["strict", false, 0, (kind: Kind) => !kind.endsWith("structure")],
  ["architectural", true, 0, (kind: Kind) => !kind.endsWith("structure")],
  ["architectural, with paging-structure caches", true, 64, (kind: Kind) => kind !== "guest-physical"],
] as const)("%s", (_name, architectural, structureEntries, holds) => {
  const bench = new Bench(architectural, structureEntries);
  test.each(ROWS)("$name", (row) => {
    const wrong = columnsOf(row)
      .filter(([kind]) => holds(kind))
      .flatMap(([kind, cell]) => runCell(bench, row, kind, cell));
    expect(wrong).toEqual([]);
  });
});

test("INVVPID of all contexts spares VPID 0000H", () => {
  const bench = new Bench(false, 0);
  const bears = { vpid: 0n, pcid: 1n, gva: ADDRESS_A, eptp: bench.epts[0] };
  for (const kind of ["linear", "combined"] as const) {
    bench.begin(kind, bears, true);
    bench.access(ADDRESS_A);
    expect(bench.machine.core.invvpid(0, 2n, 0n, 0n)).toBe(0);
    expect(bench.has(kind, bears)).toBe(true);
  }
});

test("docs/tlb.md shows the table that is run here", () => {
  const page = readFileSync(new URL("../../docs/tlb.md", import.meta.url), "utf8");
  expect(page).toContain(tableText());
});

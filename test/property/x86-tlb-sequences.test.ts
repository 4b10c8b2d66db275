// Sequences of accesses, changes of the tables, and invalidations, with PCIDs, VPIDs, global pages, large pages and EPT: the
// core may answer by the tables as they are, or by what the oracle says may have been kept since the last invalidation that
// covers it - and by nothing else.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { OracleMemory } from "../oracle/memory.js";
import { type Ept, eptAllows, reach } from "../oracle/nested.js";
import { type AccessName, allows, classify } from "../oracle/paging.js";
import { type Answer as Verdict, type Made, type State, access } from "../oracle/processor.js";
import { expectedOf } from "../oracle/question.js";
import { ACCESS, CONTROL } from "../oracle/tables.js";
import { type Context, type Kept, Translations } from "../oracle/tlb.js";
import { showOutcome } from "../conformance/show.js";

const { Outcome, Register, RegisterWrite } = layout;

/** Sequences of each kind; more of them with GUESTMMU_RUNS. */
const RUNS = Number(process.env["GUESTMMU_RUNS"] ?? 500);

// The guest: two roots of one shape. Two 4-KByte pages in a page table, two pieces of a 2-MByte page beside it.
const GVA = 0x4000_0000n;
const PAGES = [GVA, GVA + 0x1000n, GVA + 0x20_0000n, GVA + 0x20_5000n] as const;
/** First table page of each root; the PDPT, PD and page table follow it. */
const ROOTS = [8n, 12n] as const;
/** A second page of the first root's page table, which EPT may put in its place. */
const OTHER_PT = 40n;
/** EPT: two roots of one shape; 4-KByte pages below 2 MBytes, large ones above. */
const EPTS = [32n, 36n] as const;
const DATA = [16n, 17n, 18n, 19n] as const;
const GUEST = layout.PTE_P | layout.PTE_A;
const EPT = layout.EPT_A | layout.EPT_D | layout.EPT_MEMTYPE_WB;

const at = (pfn: bigint, index: bigint): bigint => (pfn << 12n) + 8n * index;

/** Rights of a guest's entry, D or not, global or not. */
const rights = fc
  .subarray([layout.PTE_RW, layout.PTE_US, layout.PTE_XD, layout.PTE_D, layout.PTE_G, layout.PTE_P])
  .map((bits) => bits.reduce((sum, one) => sum | one, GUEST | layout.PTE_US | layout.PTE_RW));
const eptRights = fc.constantFrom(7n, 7n, 7n, 7n, 7n, 7n, 5n, 1n, 0n);
const one = <const T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const operation = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      op: fc.constant("access" as const),
      // null: the page of the last one.
      page: one(null, null, null, null, 0, 1, 2, 3),
      name: one<AccessName>("read", "write", "fetch", "modify", "implicit-read"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("map" as const),
      table: one(...ROOTS.map((root) => root + 3n), OTHER_PT),
      index: one(0n, 1n),
      pfn: one(...DATA),
      rights,
      gone: fc.nat({ max: 9 }),
    }),
  },
  // The page of the last access: the change that matters most.
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant("remap" as const), choice: one(0, 1, 2, 3), rights }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("large" as const),
      root: one(...ROOTS),
      pfn: one(512n, 1024n),
      rights,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("upper" as const), root: one(...ROOTS), rights }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("ept" as const),
      ept: one(...EPTS),
      gpa: one(...DATA, 11n, 11n, 15n),
      to: one(...DATA, OTHER_PT, OTHER_PT),
      rights: eptRights,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("cr3" as const),
      root: one(...ROOTS),
      pcid: one(1n, 2n),
      keep: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("invlpg" as const), page: one(0, 1, 2, 3) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("invpcid" as const),
      type: one(0n, 1n, 2n, 3n),
      pcid: one(1n, 2n),
      page: one(0, 1, 2, 3),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("invvpid" as const),
      type: one(0n, 1n, 2n, 3n),
      vpid: one(0n, 1n, 1n, 1n, 2n),
      page: one(0, 1, 2, 3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("invept" as const), type: one(1n, 2n), ept: one(...EPTS) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("vpid" as const), vpid: one(0n, 1n, 1n, 2n) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("eptp" as const), ept: one(...EPTS) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("turn" as const),
      what: one("wp", "smep", "smap", "cpl", "pge"),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** One processor, its memory, and what the oracle says it may have kept. */
class Bench {
  readonly machine = new CoreInstance({
    frameCount: 2048,
    tlbEntries: 8,
    tlbLargeEntries: 4,
    walkCacheEntries: 8,
  });
  readonly told: string[] = [];
  kept = new Translations([]);
  stale = 0;
  private control = { ...CONTROL };
  private pge = false;
  private root: bigint = ROOTS[0];
  private pcid = 1n;
  private vpid = 0n;
  private ept: bigint = EPTS[0];
  private nested = false;
  /** Page of the last access. */
  private last: 0 | 1 | 2 | 3 = 0;

  private get eptp(): bigint {
    return (this.ept << 12n) | layout.EPTP_WB_4LEVEL | layout.EPTP_AD;
  }
  private get context(): Context {
    return { vpid: Number(this.vpid), pcid: Number(this.pcid), ep4ta: this.nested ? this.ept : 0n };
  }
  private get state(): State {
    const nested: Ept = {
      kind: "ept",
      eptp: this.eptp,
      executeOnly: true,
      advanced: false,
      modeBased: false,
      log: null,
    };
    return {
      control: this.control,
      paging: true,
      cr3: (this.root << 12n) | this.pcid,
      nested: this.nested ? nested : null,
    };
  }

  begin(nested: boolean): void {
    const { machine } = this;
    this.told.length = 0;
    this.kept = new Translations(PAGES.map((page) => page >> 12n));
    this.control = { ...CONTROL, nxe: true };
    this.pge = true;
    this.nested = nested;
    [this.root, this.pcid, this.vpid, this.ept] = [ROOTS[0], 1n, 1n, EPTS[0]];
    for (let pa = at(8n, 0n); pa < at(44n, 0n); pa += 8n) machine.writePhysical(pa, 0n);
    const all = GUEST | layout.PTE_RW | layout.PTE_US | layout.PTE_D;
    const page = all | layout.PTE_G;
    for (const root of ROOTS) {
      machine.writePhysical(at(root, 0n), ((root + 1n) << 12n) | all);
      machine.writePhysical(at(root + 1n, 1n), ((root + 2n) << 12n) | all);
      machine.writePhysical(at(root + 2n, 0n), ((root + 3n) << 12n) | all);
      machine.writePhysical(at(root + 2n, 1n), (512n << 12n) | page | layout.PTE_PS);
    }
    for (const table of [...ROOTS.map((root) => root + 3n), OTHER_PT])
      for (const index of [0n, 1n]) machine.writePhysical(at(table, index), (DATA[0] << 12n) | page);
    for (const ept of EPTS) {
      // What refers to a table has no memory type.
      for (const i of [0n, 1n, 2n]) {
        const table = ((ept + i + 1n) << 12n) | layout.EPT_A | 7n;
        machine.writePhysical(at(ept + i, 0n), table);
      }
      for (const i of [1n, 2n]) machine.writePhysical(at(ept + 2n, i), (i << 21n) | EPT | layout.EPT_PS | 7n);
      for (let gfn = 8n; gfn < 44n; gfn++) machine.writePhysical(at(ept + 3n, gfn), (gfn << 12n) | EPT | 7n);
    }
    machine.core.cpuReset(0);
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
    this.controls();
    machine.set(Register.Cr3, (this.root << 12n) | this.pcid);
    machine.set(Register.Vpid, this.vpid);
    machine.set(Register.Eptp, nested ? this.eptp : 0n);
  }

  private controls(): void {
    const { wp, smep, smap, cpl } = this.control;
    const on = (condition: boolean, bits: bigint): bigint => (condition ? bits : 0n);
    this.machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | on(wp, layout.CR0_WP));
    this.machine.set(
      Register.Cr4,
      layout.CR4_PAE |
        layout.CR4_PCIDE |
        on(this.pge, layout.CR4_PGE) |
        on(smep, layout.CR4_SMEP) |
        on(smap, layout.CR4_SMAP),
    );
    this.machine.set(Register.Cpl, BigInt(cpl));
  }

  /** Does one operation; throws if the core answers what it may not. */
  do(o: Operation): void {
    const { machine, kept } = this;
    const { vpid, pcid } = this.context;
    this.told.push(
      JSON.stringify(o, (_, value: unknown) =>
        typeof value === "bigint" ? `0x${value.toString(16)}` : value,
      ),
    );
    switch (o.op) {
      case "access":
        this.last = o.page ?? this.last;
        return this.access(PAGES[this.last] + 8n, o.name);
      case "map":
        return machine.writePhysical(at(o.table, o.index), o.gone === 9 ? 0n : (o.pfn << 12n) | o.rights);
      case "remap":
        return this.remap(o.choice, o.rights);
      case "large":
        return machine.writePhysical(at(o.root + 2n, 1n), (o.pfn << 12n) | o.rights | layout.PTE_PS);
      case "upper":
        return machine.writePhysical(
          at(o.root + 1n, 1n),
          ((o.root + 2n) << 12n) | (o.rights & 0xffn & ~layout.PTE_PS),
        );
      case "ept":
        return machine.writePhysical(at(o.ept + 3n, o.gpa), (o.to << 12n) | EPT | o.rights);
      case "cr3":
        this.root = o.root;
        this.pcid = o.pcid;
        machine.set(Register.Cr3, (o.root << 12n) | o.pcid | (o.keep ? layout.CR3_NO_FLUSH : 0n));
        if (!o.keep) kept.drop({ vpid, pcid: Number(o.pcid), globals: "spare" });
        return;
      case "invlpg":
        if (!this.asSupervisor(() => machine.core.invlpg(0, PAGES[o.page]))) return;
        return kept.drop({ vpid, pcid, address: PAGES[o.page], globals: "any" });
      case "invpcid":
        if (!this.asSupervisor(() => machine.core.invpcid(0, o.type, o.pcid, PAGES[o.page]))) return;
        if (o.type === 0n)
          return kept.drop({ vpid, pcid: Number(o.pcid), address: PAGES[o.page], globals: "spare" });
        if (o.type === 1n) return kept.drop({ vpid, pcid: Number(o.pcid), globals: "spare" });
        return kept.drop(o.type === 2n ? { vpid } : { vpid, globals: "spare" });
      case "invvpid":
        return this.invvpid(o.type, o.vpid, PAGES[o.page]);
      case "invept":
        if (!this.asSupervisor(() => machine.core.invept(0, o.type, (o.ept << 12n) | layout.EPTP_WB_4LEVEL)))
          return;
        kept.drop(o.type === 1n ? { ep4ta: o.ept } : { combined: true });
        return kept.dropTables(o.type === 1n ? o.ept : undefined);
      case "vpid":
        this.vpid = o.vpid;
        return machine.set(Register.Vpid, o.vpid);
      case "eptp":
        if (!this.nested) return;
        this.ept = o.ept;
        return machine.set(Register.Eptp, this.eptp);
      case "turn":
        return this.turn(o.what);
    }
  }

  private remap(choice: 0 | 1 | 2 | 3, rights: bigint): void {
    const { machine, root, last } = this;
    if (last < 2) machine.writePhysical(at(root + 3n, BigInt(last)), (DATA[choice] << 12n) | rights);
    else
      machine.writePhysical(
        at(root + 2n, 1n),
        (BigInt(512 + 512 * (choice & 1)) << 12n) | rights | layout.PTE_PS,
      );
  }

  /** True if the instruction was made; at another CPL it is #GP(0). */
  private asSupervisor(instruction: () => number): boolean {
    const status = instruction();
    expect(status).toBe(this.control.cpl === 0 ? RegisterWrite.Ok : RegisterWrite.GeneralProtection);
    return status === RegisterWrite.Ok;
  }

  private invvpid(type: bigint, vpid: bigint, address: bigint): void {
    if (vpid === 0n && type !== 2n) {
      const status = this.machine.core.invvpid(0, type, vpid, address);
      expect(status).toBe(this.control.cpl === 0 ? RegisterWrite.VmFail : RegisterWrite.GeneralProtection);
      return;
    }
    if (!this.asSupervisor(() => this.machine.core.invvpid(0, type, vpid, address))) return;
    const of = { vpid: Number(vpid) };
    if (type === 0n) this.kept.drop({ ...of, address });
    else if (type === 1n) this.kept.drop(of);
    else if (type === 2n) this.kept.drop({ notVpid: 0 });
    else this.kept.drop({ ...of, globals: "spare" });
  }

  private turn(what: "wp" | "smep" | "smap" | "cpl" | "pge"): void {
    const { vpid, pcid } = this.context;
    if (what === "cpl") this.control.cpl = this.control.cpl === 0 ? 3 : 0;
    else if (what === "pge") this.pge = !this.pge;
    else this.control[what] = !this.control[what];
    this.controls();
    if (what === "pge") this.kept.drop({ vpid });
    if (what === "smep" && this.control.smep) this.kept.drop({ vpid, pcid });
  }

  private ask(gva: bigint, name: AccessName, kept?: ReadonlyMap<bigint, bigint>): Verdict {
    const memory = new OracleMemory((pa) => this.machine.readPhysical(pa));
    const state = this.state;
    return access(kept ? { ...state, kept } : state, gva, 1, name, memory);
  }

  /** All answers of a walk that reaches each table by EPT as it is, or by a translation that may have been kept. */
  private verdicts(gva: bigint, name: AccessName): Verdict[] {
    const now = this.ask(gva, name);
    if (!this.nested) return [now];
    let choices: Map<bigint, bigint>[] = [new Map()];
    for (let page = this.root; page < this.root + 4n; page++) {
      const hosts = this.kept.tables(this.ept, page);
      choices = choices.flatMap((one) => [one, ...hosts.map((host) => new Map([...one, [page, host]]))]);
    }
    return [now, ...choices.slice(1).map((one) => this.ask(gva, name, one))];
  }

  private isUsable({ made }: Kept, name: AccessName): boolean {
    if (!allows(made.guest!, name, this.control)) return false;
    if (!made.nested) return true;
    const { writes, fetches } = classify(name, this.control);
    const use = { read: !fetches && (!writes || name === "modify"), write: writes, fetch: fetches };
    const nothing = { gpa: 0n, table: false, linear: null };
    return eptAllows({ ...use, ...nothing }, this.state.nested as Ept, made.nested.entries);
  }

  private access(gva: bigint, name: AccessName): void {
    const { machine, kept, context } = this;
    const verdicts = this.verdicts(gva, name);
    const usable = kept.usable(context, gva).filter((one) => this.isUsable(one, name));
    const host = machine.core.tlbAccess(0, gva, ACCESS[name]) >>> 0;
    const pa = host === 0 ? null : BigInt(host - machine.frame(0n));
    const walk = machine.walk();
    const error = BigInt(walk.error);
    const matching = verdicts.filter((verdict) => {
      const expected = expectedOf(verdict);
      if (pa !== null) return expected.outcome === Outcome.Ok && expected.pa === pa;
      if (expected.outcome !== walk.outcome) return false;
      return (
        (expected.error === null || expected.error === error) &&
        (expected.gpa === null || expected.gpa === walk.gpa)
      );
    });
    if (matching.length === 0) {
      if (pa === null || !usable.some(({ hostPage }) => hostPage === pa >> 12n))
        this.fail(pa, verdicts, usable);
      this.stale++;
      return;
    }
    this.learn(gva, matching);
  }

  private fail(pa: bigint | null, verdicts: readonly Verdict[], usable: readonly Kept[]): never {
    const walk = this.machine.walk();
    const got =
      pa === null
        ? showOutcome({ ...walk, error: BigInt(walk.error), cr2: walk.gva, secondPa: null })
        : `ok at 0x${pa.toString(16)}`;
    const allowed = [
      ...new Set(verdicts.map((verdict) => showOutcome(expectedOf(verdict)))),
      ...usable.map(({ hostPage }) => `kept: ok in page 0x${hostPage.toString(16)}`),
    ];
    throw new Error(`${this.told.join("\n")}\n-> ${got}; what may be:\n  ${allowed.join("\n  ")}`);
  }

  /** What the access leaves behind, and what a fault drops. */
  private learn(gva: bigint, matching: readonly Verdict[]): void {
    const { kept, context } = this;
    const { vpid, pcid, ep4ta } = context;
    for (const verdict of matching)
      if (verdict.kind === "ok") kept.add(context, gva, verdict satisfies Made, this.pge);
    const first = matching[0]!;
    if (first.kind === "page-fault") kept.drop({ vpid, pcid, address: gva, exact: true, globals: "any" });
    if (first.kind === "ept-violation") {
      kept.drop({ vpid, pcid, ep4ta, address: gva, exact: true, globals: "any" });
      kept.dropTables(ep4ta, first.gpa >> 12n);
    }
    if (!this.nested) return;
    for (let page = this.root; page < this.root + 4n; page++) {
      const use = { gpa: page << 12n, read: true, write: true, fetch: false, table: true, linear: null };
      const memory = new OracleMemory((pa) => this.machine.readPhysical(pa));
      const got = reach(use, this.state.nested!, this.control, memory);
      if (got.kind === "ok") kept.addTable(ep4ta, page, got.hpa >> 12n);
    }
  }
}

test.each([
  ["linear translations", false],
  ["translations over EPT", true],
] as const)("%s: nothing is used that has been invalidated", (_name, nested) => {
  const bench = new Bench();
  fc.assert(
    fc.property(fc.array(operation, { minLength: 4, maxLength: 60, size: "max" }), (operations) => {
      bench.begin(nested);
      for (const o of operations) bench.do(o);
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  );
  // Some answers came from what had been kept and is no longer in the tables: else the test would show nothing.
  expect(bench.stale).toBeGreaterThan(RUNS / 3);
});

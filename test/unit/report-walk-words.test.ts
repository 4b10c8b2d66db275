// One sentence for every cause of a fault, with the entry and the bit that decide it; and the rights level by level.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { Machine, registersOf } from "../../src/index.js";
import type { AccessFault } from "../../src/machine/access-result.js";
import type { Translation } from "../../src/machine/translation.js";
import {
  accumulatedRights,
  explainWalk,
  shortRights,
  walkPage,
  type WalkAccess,
  type WalkContext,
  type WalkContextRegisters,
} from "../../src/report/index.js";
import { NestedGuest, registers, Tables, walked, Words } from "../walked.js";

const { CR0_PE, CR0_PG, CR4_LA57, CR4_PAE, CR4_PKE, CR4_PKS, CR4_SMAP, CR4_SMEP } = layout;
const { EPT_R, EPT_W, EPT_X, PTE_P, PTE_PS, PTE_RW, PTE_US, PTE_XD } = layout;

const GVA = 0x7f3a_5c21_e678n;
const PAGE = 0x12_4af3_d000n;
const USER_RW = PTE_P | PTE_RW | PTE_US | layout.PTE_A | layout.PTE_D;

/** A guest's tables in physical memory: PML4 at 0x1000, each further table a page on; GVA is a user page, writable. */
class Flat {
  readonly words = new Words();
  readonly tables: Tables;
  constructor(levels: 4 | 5 = 4) {
    let page = 0n;
    this.tables = new Tables(this.words, { levels, upper: USER_RW, page: () => (page += 0x1000n) });
    this.tables.map(GVA, PAGE | USER_RW);
  }
  change(level: number, to: (entry: bigint) => bigint): this {
    this.tables.change(GVA, level, to);
    return this;
  }
  context(access: WalkAccess, more: Partial<WalkContextRegisters> = {}, gva = GVA): WalkContext {
    return { gva, access, registers: registers({ cr3: this.tables.root, ...more }) };
  }
  says(access: WalkAccess, more: Partial<WalkContextRegisters> = {}, gva = GVA): string {
    const context = this.context(access, more, gva);
    return explainWalk(walked(this.words, context), context);
  }
}

const user = { cpl: 3 };
const clear = (bits: bigint) => (entry: bigint) => entry & ~bits;
const set = (bits: bigint) => (entry: bigint) => entry | bits;

describe("what a walk reaches", () => {
  test("a page of 4 KBytes, 2 MBytes and 1 GByte", () => {
    expect(new Flat().says("read", user)).toBe(
      "A user-mode read of gva 0x7f3a5c21e678 reaches physical address 0x124af3d678 in a 4-KByte page that the PTE " +
        "(level 1, entry 30 at 0x40f0) maps.",
    );
    const large = new Flat();
    large.tables.map(0x4020_0000n, 0x1_8020_0000n | USER_RW | PTE_PS, 2);
    large.tables.map(0x80_0000_0000n, 0x1_8000_0000n | USER_RW | PTE_PS, 3);
    expect(large.says("write", user, 0x4021_2345n)).toContain(
      "reaches physical address 0x180212345 in a 2-MByte page that the PDE (level 2, entry 1 at ",
    );
    expect(large.says("modify", user, 0x80_3fff_ffffn)).toContain(
      "A user-mode read-modify-write of gva 0x803fffffff reaches physical address 0x1bfffffff in a 1-GByte page that " +
        "the PDPTE (level 3, entry 0 at ",
    );
  });

  test("the address itself, without paging", () => {
    expect(new Flat().says("fetch", { cr0: CR0_PE, cr4: 0n, efer: 0n }, 0x1234n)).toBe(
      "A supervisor-mode instruction fetch from gva 0x1234 reaches physical address 0x1234, since paging is off (CR0.PG is clear).",
    );
  });

  test("both dimensions", () => {
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4ae0_0000n | USER_RW | PTE_PS, 2);
    guest.mapNested(0x1_4ae1_e000n, 0x33_4567_8000n);
    const context = guest.context(GVA, "write", user);
    expect(explainWalk(guest.walk(context), context)).toMatch(
      /^A user-mode write to gva 0x7f3a5c21e678 reaches gpa 0x14ae1e678 in a 2-MByte page that the guest PDE \(level 2, entry 225 at 0x\w+\) maps, and hpa 0x3345678678 in a 4-KByte page that the EPT PTE \(level 1, entry 30 at 0x\w+\) maps\.$/,
    );
  });
});

describe("why the guest's tables fault", () => {
  test("not present, at each level", () => {
    const names = ["", "PTE (level 1, entry 30", "PDE (level 2, entry 225", "PDPTE (level 3, entry 233"];
    for (const level of [1, 2, 3])
      expect(new Flat().change(level, clear(PTE_P)).says("read", user)).toContain(
        `raises #PF with error code 0x4 (U/S), because the ${names[level]} at `,
      );
    expect(new Flat().change(4, clear(PTE_P)).says("write")).toBe(
      "A supervisor-mode write to gva 0x7f3a5c21e678 raises #PF with error code 0x2 (W/R), because the PML4E (level 4, " +
        "entry 254 at 0x17f0) is not present: P (bit 0) is clear.",
    );
    const five = new Flat(5).change(5, clear(PTE_P));
    expect(five.says("read", { cr4: CR4_PAE | CR4_LA57 })).toContain(
      "the PML5E (level 5, entry 0 at 0x1000) is not present",
    );
  });

  test("reserved bits: above MAXPHYADDR, PS, below a large page, XD without NXE, 1-GByte pages that there are not", () => {
    expect(new Flat().change(1, set((1n << 51n) | (1n << 45n) | (1n << 44n))).says("read", user)).toContain(
      "error code 0xd (P, U/S, RSVD), because the PTE (level 1, entry 30 at 0x40f0) has reserved bits set: bits 51 and " +
        "45:44 (above MAXPHYADDR 40).",
    );
    expect(new Flat().change(4, set(PTE_PS)).says("read")).toContain(
      "the PML4E (level 4, entry 254 at 0x17f0) has reserved bits set: bit 7 (PS, which no PML4E may have).",
    );
    expect(
      new Flat().change(2, (entry) => (set(PTE_PS)(entry) & ~0xf_f000n) | (1n << 13n)).says("read"),
    ).toContain("has reserved bits set: bit 13 (below the address of a 2-MByte page).");
    expect(
      new Flat().change(1, set(PTE_XD)).says("read", { efer: layout.EFER_LME | layout.EFER_LMA }),
    ).toContain("has reserved bits set: bit 63 (XD, while EFER.NXE is clear).");
    const one = new Flat().change(3, (entry) => (entry & 0xfffn) | PTE_PS);
    expect(one.says("read", { page1GB: false })).toContain(
      "has reserved bits set: bit 7 (PS, on a processor without 1-GByte pages).",
    );
  });

  test("a supervisor page, and every entry that makes it one", () => {
    expect(new Flat().change(1, clear(PTE_US)).change(3, clear(PTE_US)).says("read", user)).toBe(
      "A user-mode read of gva 0x7f3a5c21e678 raises #PF with error code 0x5 (P, U/S), because the page is a supervisor " +
        "page: U/S (bit 2) is clear in the PDPTE (level 3, entry 233 at 0x2748) and the PTE (level 1, entry 30 at 0x40f0).",
    );
  });

  test("a read-only page: for user mode, and for the supervisor by CR0.WP", () => {
    const flat = new Flat().change(2, clear(PTE_RW));
    expect(flat.says("write", user)).toBe(
      "A user-mode write to gva 0x7f3a5c21e678 raises #PF with error code 0x7 (P, W/R, U/S), because the page is " +
        "read-only: R/W (bit 1) is clear in the PDE (level 2, entry 225 at 0x3708).",
    );
    const supervisor = { cr4: CR4_PAE };
    expect(flat.says("modify", supervisor)).toContain(
      "error code 0x3 (P, W/R), because the page is read-only: R/W (bit 1) is clear in the PDE (level 2, entry 225 at " +
        "0x3708), and CR0.WP is set, so that this binds the supervisor too.",
    );
    expect(flat.says("write", { ...supervisor, cr0: CR0_PE | CR0_PG })).toContain("reaches physical address");
  });

  test("XD, SMEP, SMAP and its lift by AC, which an implicit access does not know", () => {
    expect(new Flat().change(4, set(PTE_XD)).says("fetch", user)).toContain(
      "error code 0x15 (P, U/S, I/D), because the page is not executable: XD (bit 63) is set in the PML4E (level 4, " +
        "entry 254 at 0x17f0).",
    );
    expect(new Flat().says("fetch")).toContain(
      "error code 0x11 (P, I/D), because the page is a user page (U/S, bit 2, is set in every entry, down to the PTE " +
        "(level 1, entry 30 at 0x40f0)), where CR4.SMEP forbids the supervisor to fetch instructions.",
    );
    expect(new Flat().says("read")).toContain(
      "where CR4.SMAP forbids the supervisor to touch data while RFLAGS.AC is clear.",
    );
    expect(new Flat().says("read", { rflags: layout.RFLAGS_AC })).toContain("reaches physical address");
    expect(new Flat().says("implicit-read", { rflags: layout.RFLAGS_AC, cpl: 3 })).toBe(
      "An implicit supervisor-mode read of gva 0x7f3a5c21e678 raises #PF with error code 0x1 (P), because the page is a " +
        "user page (U/S, bit 2, is set in every entry, down to the PTE (level 1, entry 30 at 0x40f0)), where CR4.SMAP " +
        "forbids the supervisor to touch data, and RFLAGS.AC does not lift that for an implicit access.",
    );
    expect(new Flat().says("fetch", { cr4: CR4_PAE | CR4_SMAP })).toContain("reaches physical address");
    expect(new Flat().says("read", { cr4: CR4_PAE | CR4_SMEP })).toContain("reaches physical address");
  });

  test("protection keys: PKRU's AD and WD for user pages, IA32_PKRS for supervisor pages", () => {
    const key = 9n << layout.PTE_KEY_SHIFT;
    const pke = { cr4: CR4_PAE | CR4_PKE };
    expect(new Flat().change(1, set(key)).says("read", { ...pke, ...user, pkru: 1 << 18 })).toContain(
      "error code 0x25 (P, U/S, PK), because the protection key is 9 (bits 62:59 of the PTE (level 1, entry 30 at " +
        "0x40f0)), and with CR4.PKE set AD9 (bit 18) of PKRU 0x40000 forbids data accesses.",
    );
    expect(new Flat().change(1, set(key)).says("write", { ...pke, pkru: 1 << 19 })).toContain(
      "error code 0x23 (P, W/R, PK), because the protection key is 9 (bits 62:59 of the PTE (level 1, entry 30 at " +
        "0x40f0)), and with CR4.PKE set WD9 (bit 19) of PKRU 0x80000, CR0.WP being set, forbids writes.",
    );
    expect(new Flat().change(1, set(key)).says("fetch", { ...pke, ...user, pkru: 0xffff_ffff })).toContain(
      "reaches",
    );
    const supervisor = new Flat().change(1, (entry) => (entry | key) & ~PTE_US);
    expect(supervisor.says("read", { cr4: CR4_PAE | CR4_PKS, pkrs: 1 << 18 })).toContain(
      "and with CR4.PKS set AD9 (bit 18) of IA32_PKRS 0x40000 forbids data accesses.",
    );
  });

  test("several causes at once, in one sentence", () => {
    const flat = new Flat().change(1, clear(PTE_US | PTE_RW));
    expect(flat.says("write", user)).toBe(
      "A user-mode write to gva 0x7f3a5c21e678 raises #PF with error code 0x7 (P, W/R, U/S), because the page is a " +
        "supervisor page: U/S (bit 2) is clear in the PTE (level 1, entry 30 at 0x40f0); and the page is read-only: R/W " +
        "(bit 1) is clear in the PTE (level 1, entry 30 at 0x40f0).",
    );
  });

  test("an address that is not canonical: #GP, and #SS through the stack segment", () => {
    expect(new Flat().says("read", user, 0x8000_0000_0000n)).toBe(
      "A user-mode read of gva 0x800000000000 raises #GP(0), because the address is not canonical: with 4-level paging " +
        "bits 63:47 have to be equal.",
    );
    expect(new Flat(5).says("stack-write", { cr4: CR4_PAE | CR4_LA57 }, 1n << 56n)).toBe(
      "A supervisor-mode stack write to gva 0x100000000000000 raises #SS(0), because the address is not canonical: with " +
        "5-level paging bits 63:56 have to be equal and the access is through the stack segment.",
    );
  });

  test("a page of the memory that is not there: of a table, of the data", () => {
    const flat = new Flat();
    flat.words.remove(flat.tables.entry(GVA, 2));
    expect(flat.says("read", user)).toBe(
      "A user-mode read of gva 0x7f3a5c21e678 cannot be followed to its end, because physical address 0x3708, where the " +
        "page directory (level 2) should be, is not in the memory that was given.",
    );
    const root = new Flat();
    root.words.remove(root.tables.root);
    expect(root.says("read")).toContain("physical address 0x17f0, where the PML4 table (level 4) should be,");
    const context = new Flat().context("read", user);
    const { steps } = walked(new Flat().words, context);
    const result = { kind: "missing", hpa: PAGE } as AccessFault;
    expect(explainWalk({ result, steps }, context)).toContain("where the page itself should be,");
  });
});

/** A guest below EPT: `level` of its own tables, or 0 for the page, is where the nested walk is changed. */
function nestedSays(
  level: number,
  nestedLevel: number,
  change: (entry: bigint) => bigint,
  access: WalkAccess = "write",
  more: Partial<WalkContextRegisters> = {},
  ad = true,
): string {
  const guest = new NestedGuest();
  const gpa = 0x1_4af3_d000n;
  guest.guest.map(GVA, gpa | USER_RW);
  guest.mapNested(gpa, 0x33_4567_8000n);
  guest.ept.change(level === 0 ? gpa : guest.guest.entry(GVA, level), nestedLevel, change);
  const context = guest.context(GVA, access, user);
  const eptp = guest.ept.root | layout.EPTP_WB_4LEVEL | (ad ? layout.EPTP_AD : 0n);
  const given = {
    ...context,
    registers: { ...context.registers, nested: { kind: "ept", eptp }, ...more },
  } as const;
  return explainWalk(guest.walk(given), given);
}

describe("why EPT stops a walk", () => {
  test("a right that is missing at the page itself", () => {
    expect(nestedSays(0, 1, clear(EPT_W))).toMatch(
      /^A user-mode write to gva 0x7f3a5c21e678 ends in an EPT violation with exit qualification 0x1aa \(write\), in the access to the page itself, at gpa 0x14af3d678, because W \(bit 1\) is clear in the EPT PTE \(level 1, entry 317 at 0x\w+\)\.$/,
    );
    expect(nestedSays(0, 2, clear(EPT_X), "fetch")).toContain(
      "because X (bit 2) is clear in the EPT PDE (level 2",
    );
    // Execute-only, which takes a read's right alone.
    expect(nestedSays(0, 1, clear(EPT_R | EPT_W), "read")).toContain(
      "because R (bit 0) is clear in the EPT PTE",
    );
    expect(nestedSays(0, 1, clear(EPT_R | EPT_W), "modify")).toMatch(
      /because R \(bit 0\) is clear in the EPT PTE \(.*\); and W \(bit 1\) is clear in the EPT PTE/,
    );
  });

  test("not present, at a table of the guest and at the page", () => {
    expect(nestedSays(3, 2, () => 0n, "read")).toMatch(
      /exit qualification 0x83 \(read, write\), in the access to the guest PDPTE \(level 3\), at gpa 0x\w+, because the EPT PDE \(level 2, entry \d+ at 0x\w+\) is not present: R, W and X \(bits 2:0\) are clear\.$/,
    );
    expect(nestedSays(0, 1, () => 0n, "read")).toContain(
      "exit qualification 0x181 (read), in the access to the page itself",
    );
  });

  test("a table of the guest that EPT lets be read but not written, with and without accessed and dirty flags", () => {
    expect(nestedSays(2, 1, clear(EPT_W), "read")).toContain(
      "and with accessed and dirty flags for EPT (EPTP bit 6) each access to a guest's table counts as a write.",
    );
    expect(nestedSays(2, 1, clear(EPT_W), "read", {}, false)).toContain("reaches gpa");
    expect(nestedSays(2, 1, clear(EPT_R | EPT_W), "read", {}, false)).toContain(
      "in the access to the guest PDE (level 2), at gpa",
    );
  });

  test("an accessed flag that cannot be set in a table of the guest that EPT does not let be written", () => {
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4af3_d000n | (USER_RW & ~layout.PTE_A));
    guest.mapNested(0x1_4af3_d000n, 0x33_4567_8000n);
    guest.ept.change(guest.guest.entry(GVA, 1), 1, clear(EPT_W));
    const nested = { kind: "ept", eptp: guest.ept.root | layout.EPTP_WB_4LEVEL } as const;
    const context = guest.context(GVA, "read", { ...user, nested });
    expect(explainWalk(walked(guest.words, context, true), context)).toMatch(
      /in the access to the guest PTE \(level 1\), at gpa 0x\w+, because W \(bit 1\) is clear in the EPT PTE \(.*\), and the processor has a flag to set in the guest's entry\.$/,
    );
  });

  test("mode-based execute control: XU for user-mode addresses, X for the others", () => {
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4af3_d000n | USER_RW);
    guest.mapNested(0x1_4af3_d000n, 0x33_4567_8000n);
    const nested = {
      kind: "ept",
      eptp: guest.ept.root | layout.EPTP_WB_4LEVEL | layout.EPTP_AD,
      modeBasedExecute: true,
    } as const;
    const context = guest.context(GVA, "fetch", { ...user, nested });
    expect(explainWalk(guest.walk(context), context)).toMatch(
      /because XU \(bit 10, execute for user-mode addresses\) is clear in the EPT PML4E \(.*\), the EPT PDPTE \(.*\), the EPT PDE \(.*\) and the EPT PTE \(/,
    );
    expect(accumulatedRights(guest.walk(context), context).at(-1)).toEqual({
      read: true,
      write: true,
      execute: true,
      user: null,
      userExecute: false,
    });
  });

  test("misconfigurations: rights, memory type, reserved bits, execute-only where there is none", () => {
    expect(nestedSays(0, 1, clear(EPT_R))).toMatch(
      /ends in an EPT misconfiguration, in the access to the page itself, at gpa 0x14af3d678, because the EPT PTE \(.*\) allows writes but not reads: W \(bit 1\) is set, R \(bit 0\) is clear\.$/,
    );
    const type = (to: bigint) => (entry: bigint) => (entry & ~layout.EPT_MEMTYPE) | (to << 3n);
    for (const reserved of [2n, 3n, 7n])
      expect(nestedSays(0, 1, type(reserved))).toContain(
        `has memory type ${reserved} (bits 5:3), which is reserved.`,
      );
    expect(nestedSays(4, 4, set(1n << 5n))).toContain(
      "has reserved bits set: bit 5 (reserved in an EPT PML4E).",
    );
    expect(nestedSays(1, 3, set(1n << 3n))).toContain("bit 3 (reserved in an entry that refers to a table).");
    expect(nestedSays(1, 1, set(1n << 44n))).toContain("bit 44 (above MAXPHYADDR 40).");
    expect(nestedSays(0, 2, set(layout.EPT_PS | 0x30n))).toContain("(below the address of a 2-MByte page).");
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4af3_d000n | USER_RW);
    guest.ept.map(0x1_4af3_d000n, 0x33_4567_8000n | EPT_X | layout.EPT_MEMTYPE_WB);
    const eptp = guest.ept.root | layout.EPTP_WB_4LEVEL;
    const context = guest.context(GVA, "fetch", {
      ...user,
      nested: { kind: "ept", eptp, executeOnly: false },
    });
    expect(explainWalk(guest.walk(context), context)).toContain(
      "allows fetches but not reads: R (bit 0) is clear, on a processor without execute-only EPT.",
    );
  });

  test("a guest-physical address that four levels do not translate", () => {
    const guest = new NestedGuest();
    const context = guest.context(1n << 50n, "read", { cr0: CR0_PE, cr4: 0n, efer: 0n });
    expect(explainWalk(guest.walk(context), context)).toContain(
      "in the access to the page itself, at gpa 0x4000000000000, because 4 levels of nested tables translate no bits above bit 47.",
    );
  });

  test("missing memory: a nested table, and a table of the guest behind the nested one", () => {
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4af3_d000n | USER_RW);
    const entry = guest.guest.entry(GVA, 2);
    const context = guest.context(GVA, "read", user);
    const without = (pa: bigint): string => {
      guest.words.remove(pa);
      return explainWalk(guest.walk(context), context);
    };
    expect(without(guest.hpa(entry))).toContain("where the guest page directory (level 2) should be,");
    expect(without(guest.ept.entry(entry, 1))).toContain(
      "where the EPT page table (level 1), needed for the guest PDE (level 2), should be,",
    );
    expect(without(guest.ept.root)).toContain(
      "where the EPT PML4 table (level 4), needed for the guest PML4E (level 4), should be,",
    );
  });
});

describe("why AMD's nested tables stop a walk", () => {
  const npt = (change: (tables: Tables) => void, access: WalkAccess, nxe = true): string => {
    const words = new Words();
    let page = 0x800_0000n;
    const tables = new Tables(words, { levels: 4, upper: USER_RW, page: () => (page += 0x1000n) });
    // One 1-GByte page, in which the guest has its tables and the page.
    tables.map(0n, USER_RW | PTE_PS, 3);
    const guest = new Flat();
    for (let level = 1; level <= 4; level++) {
      const at = guest.tables.entry(GVA, level);
      words.set(at, guest.words.get(at));
    }
    tables.map(PAGE, 0x44_0000_0000n | USER_RW);
    change(tables);
    const context = guest.context(access, { ...user, nested: { kind: "npt", ncr3: tables.root, nxe } });
    return explainWalk(walked(words, context), context);
  };

  test("with EXITINFO1, for the page and for a table of the guest", () => {
    expect(npt(() => undefined, "write")).toMatch(
      /and hpa 0x4400000678 in a 4-KByte page that the nested PTE \(level 1, entry 317 at 0x\w+\) maps\.$/,
    );
    expect(npt((tables) => tables.change(PAGE, 1, clear(PTE_P)), "read")).toMatch(
      /ends in a nested page fault with EXITINFO1 0x100000004, error code 0x4 \(U\/S\), in the access to the page itself, at gpa 0x124af3d678, because the nested PTE \(.*\) is not present: P \(bit 0\) is clear\.$/,
    );
    expect(npt((tables) => tables.change(PAGE, 2, clear(PTE_US)), "read")).toMatch(
      /U\/S \(bit 2\) is clear in the nested PDE \(.*\), where each access counts as one of user mode\.$/,
    );
    expect(npt((tables) => tables.change(0n, 3, clear(PTE_RW)), "read")).toMatch(
      /EXITINFO1 0x200000007, error code 0x7 \(P, W\/R, U\/S\), in the access to the guest PML4E \(level 4\), at gpa 0x17f0, because the page is read-only: R\/W \(bit 1\) is clear in the nested PDPTE \(.*\), where each access to a guest's table counts as a write of user mode\.$/,
    );
    expect(npt((tables) => tables.change(PAGE, 1, set(PTE_XD)), "fetch", false)).toContain(
      "bit 63 (XD, while the host's EFER.NXE is clear).",
    );
  });
});

describe("a vCPU of a machine", () => {
  test("gives its registers, by which its walks are accounted for", () => {
    const machine = Machine.create({ hostMemory: 4 << 20, vcpus: 1, maxphyaddr: 40 });
    machine.memslots.add({ gpa: 0, hva: machine.mm.mmap(4 << 20), length: 4 << 20 });
    const tables = machine.guestTables({ at: 1 << 20 });
    tables.map({ gva: GVA & ~0xfffn, gpa: 2 << 20, length: 4096, writable: false, user: true });
    const vcpu = machine.vcpu(0);
    vcpu.enterLongMode(tables);
    vcpu.set("cpl", 3);
    vcpu.translate(GVA);
    const registers = registersOf(machine);
    expect(registers).toMatchObject({ cr3: 1n << 20n, cpl: 3, maxphyaddr: 40, page1GB: true });
    expect(registers.nested).toEqual({ kind: "ept", eptp: vcpu.get("eptp"), modeBasedExecute: false });
    const says = (access: "read" | "write", sideEffects: boolean): string =>
      explainWalk(vcpu.translate(GVA, { access, sideEffects }), { gva: GVA, access, registers });
    // Nothing was touched yet: KVM has no page of the guest's tables mapped.
    expect(says("read", false)).toMatch(
      /ends in an EPT violation with .* in the access to the guest PML4E \(level 4\), at gpa 0x1007f0, because the EPT PML4E \(level 4, entry 0 at 0x\w+\) is not present/,
    );
    expect(says("read", true)).toMatch(/reaches gpa 0x200678 in a 4-KByte page that the guest PTE/);
    expect(says("write", true)).toContain(
      "raises #PF with error code 0x7 (P, W/R, U/S), because the page is read-only",
    );
    machine.dispose();
  });
});

describe("outcomes of a machine", () => {
  const context = new Flat().context("write");
  const steps: Translation["steps"] = [];
  const says = (result: object): string => explainWalk({ result: result as AccessFault, steps }, context);

  test("each has its sentence", () => {
    const begin = "A supervisor-mode write to gva 0x7f3a5c21e678 ";
    expect(says({ kind: "mmio", gpa: 0x1000n, access: "write", size: 8, target: "data" })).toBe(
      `${begin}exits for emulation (MMIO), because no memslot holds gpa 0x1000, or only a read-only one.`,
    );
    expect(says({ kind: "host-fault", gpa: 0x1000n })).toBe(
      `${begin}cannot be backed, because the VMM maps nothing behind gpa 0x1000, or not with that right.`,
    );
    expect(says({ kind: "alignment-check", gva: GVA })).toBe(
      `${begin}raises #AC(0), because it is locked and not aligned.`,
    );
    expect(says({ kind: "interrupted" })).toBe(
      `${begin}was not made, because the vCPU had been asked to leave guest mode.`,
    );
    expect(says({ kind: "pml-full", gpa: 0x1000n })).toContain(
      "ends in a full page-modification log, because",
    );
  });

  test("what the entries do not account for is said, not made up", () => {
    const flat = new Flat();
    const quiet = flat.context("read", user);
    const translation = walked(flat.words, quiet);
    const result = { kind: "page-fault", errorCode: 5, gva: GVA } as AccessFault;
    expect(explainWalk({ ...translation, result }, quiet)).toBe(
      "A user-mode read of gva 0x7f3a5c21e678 raises #PF with error code 0x5 (P, U/S), which the entries read and the " +
        "registers given do not account for.",
    );
    // With other registers than those it was made with: it cannot be a write.
    const other = new Flat().change(1, clear(PTE_RW));
    const wrong = { ...other.context("write", user), access: "read" as const };
    expect(explainWalk(walked(other.words, other.context("write", user)), wrong)).toContain(
      "do not account for.",
    );
  });
});

describe("rights level by level", () => {
  test("narrow in the guest's dimension, and begin anew with each nested walk", () => {
    const flat = new Flat().change(3, clear(PTE_RW)).change(2, set(PTE_XD)).change(1, clear(PTE_US));
    const context = flat.context("read");
    expect(accumulatedRights(walked(flat.words, context), context).map(shortRights)).toEqual([
      "RWX U",
      "R-X U",
      "R-- U",
      "R-- S",
    ]);
    const guest = new NestedGuest();
    guest.guest.map(GVA, 0x1_4af3_d000n | (USER_RW & ~PTE_RW));
    guest.mapNested(0x1_4af3_d000n, 0x33_4567_8000n);
    guest.ept.change(0x1_4af3_d000n, 1, clear(EPT_X));
    const nested = guest.context(GVA, "read", user);
    const rows = accumulatedRights(guest.walk(nested), nested).map(shortRights);
    const table = ["RWX", "RWX", "RWX", "RWX"];
    expect(rows).toEqual([
      ...[...table, "RWX U"],
      ...[...table, "RWX U"],
      ...[...table, "RWX U"],
      ...[...table, "R-X U"],
      ...["RWX", "RWX", "RWX", "RW-"],
    ]);
  });

  test("an entry that is not present leaves none", () => {
    const flat = new Flat().change(1, clear(PTE_P));
    const context = flat.context("read");
    expect(accumulatedRights(walked(flat.words, context), context).map(shortRights).at(-1)).toBe("--- S");
    expect(shortRights({ read: true, write: true, execute: false, user: null, userExecute: true })).toBe(
      "RW- XU",
    );
  });
});

describe("what is no walk, or no option of its page", () => {
  const good = (): [Translation, WalkContext] => {
    const flat = new Flat();
    const context = flat.context("read", user);
    return [walked(flat.words, context), context];
  };
  const refusal = (change: (translation: Translation, context: WalkContext) => unknown[]): string => {
    try {
      explainWalk(...(change(...good()) as [Translation, WalkContext]));
    } catch (error) {
      expect(error).toMatchObject({ code: "USAGE" });
      return (error as Error).message;
    }
    return "accepted";
  };

  test("options", () => {
    const draw = (options: object): string => walkPage(...good(), options);
    expect(() => draw({ titel: "x" })).toThrow(/titel/);
    expect(() => draw({ title: 3 })).toThrow("The title of a walk's page is 3.");
  });

  test("is refused by its name", () => {
    expect(refusal((t, c) => [null, c])).toBe("The translation of a walk is null.");
    expect(refusal((t, c) => [{ ...t, steps: 3 }, c])).toBe("The translation of a walk is an object.");
    expect(refusal((t, c) => [{ ...t, steps: [{ ...t.steps[0]!, level: 6 }] }, c])).toBe(
      "The step 0 of a walk is an object.",
    );
    expect(refusal((t, c) => [t, { ...c, gva: -1n }])).toBe("The gva of a walk is -1.");
    expect(refusal((t, c) => [t, { ...c, access: "jump" }])).toBe('The access of a walk is "jump".');
    expect(refusal((t, c) => [t, { ...c, registers: {} }])).toBe("The cr3 of a walk is undefined.");
    expect(refusal((t, c) => [t, { ...c, registers: { ...c.registers, maxphyaddr: 31 } }])).toBe(
      "The MAXPHYADDR of a walk is 31.",
    );
    const guest = new NestedGuest();
    guest.guest.map(GVA, USER_RW);
    const context = guest.context(GVA);
    const without = { ...context, registers: { cr3: guest.guest.root } };
    expect(() => explainWalk(guest.walk(context), without)).toThrow(
      "The nested root of a walk is undefined.",
    );
  });
});

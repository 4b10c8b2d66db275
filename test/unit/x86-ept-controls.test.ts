// What VM-execution controls and capabilities change of EPT: mode-based execute control, page-modification logging, advanced
// VM-exit information, execute-only translations, page walks of five levels.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { EPT_PAGE, GPA, GUEST, GVA, Nested } from "../ept-machine.js";

const { Access, Flush, Outcome, Register, RegisterWrite } = layout;
const FINAL = layout.EPT_VIOLATION_LINEAR | layout.EPT_VIOLATION_FINAL;
const PAGE = GPA + 0x4000n;
const { EPT_R, EPT_W, EPT_X, EPT_XU } = layout;

function guest(controls: bigint, flags = layout.EPTP_AD): Nested {
  const vm = new Nested(flags, 0);
  vm.machine.set(Register.SecondaryControls, controls);
  return vm;
}
/** Gives the tables above the page's entry XU. */
function openTables(vm: Nested): void {
  for (let level = 2; level <= 4; level++) vm.orEpt(PAGE, EPT_XU, level);
}
function flush(vm: Nested): void {
  vm.machine.core.tlbFlush(0, Flush.All, 0n);
}

describe("mode-based execute control", () => {
  /** Entry rights x mode of the page x CPL: a fetch goes by XU for a user-mode address and by X for the other kind. */
  const rights = [0n, EPT_X, EPT_XU, EPT_X | EPT_XU];
  for (const execute of rights) {
    for (const userPage of [false, true]) {
      for (const cpl of [0n, 3n]) {
        if (cpl === 3n && !userPage) continue;
        const allowed = (execute & (userPage ? EPT_XU : EPT_X)) !== 0n;
        const name = `X=${Number(execute & EPT_X) >> 2} XU=${Number(execute & EPT_XU) >> 10}, ${userPage ? "user" : "supervisor"} page, CPL ${cpl}`;
        test(`${name}: a fetch ${allowed ? "succeeds" : "exits"}`, () => {
          const vm = guest(layout.SECONDARY_MBEC);
          openTables(vm);
          vm.setGuest(1, userPage ? PAGE | GUEST : (PAGE | GUEST) & ~layout.PTE_US);
          vm.mapEpt(PAGE, vm.page | (EPT_PAGE & ~EPT_X) | execute);
          vm.machine.set(Register.Cpl, cpl);
          if (allowed) {
            expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
            expect(vm.probe(Access.Fetch)).toBe(true);
            return;
          }
          const found =
            ((EPT_R | EPT_W | (execute & EPT_X)) << 3n) |
            (execute & EPT_XU ? BigInt(layout.EPT_VIOLATION_XU) : 0n);
          expect(vm.exit(Access.Fetch)).toEqual({
            outcome: Outcome.EptViolation,
            gpa: PAGE + 8n,
            error: FINAL | 4 | Number(found),
          });
          if (cpl === 0n || userPage) expect(vm.access(Access.Read)).toBe(vm.page + 8n);
          expect(vm.probe(Access.Fetch)).toBe(false);
        });
      }
    }
  }

  test("bit 10 alone makes an entry present: a user-mode fetch from an execute-only page", () => {
    const vm = guest(layout.SECONDARY_MBEC);
    openTables(vm);
    vm.mapEpt(PAGE, vm.page | (EPT_PAGE & ~layout.EPT_RWX) | EPT_XU);
    expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
    expect(vm.exit(Access.Read)).toMatchObject({ error: FINAL | 1 | layout.EPT_VIOLATION_XU });
    vm.machine.set(Register.SecondaryControls, 0n);
    flush(vm);
    expect(vm.exit(Access.Fetch)).toMatchObject({ outcome: Outcome.EptViolation, error: FINAL | 4 });
  });
  test("an upper entry without XU denies user-mode fetches below it", () => {
    const vm = guest(layout.SECONDARY_MBEC);
    vm.mapEpt(PAGE, vm.page | EPT_PAGE | EPT_XU);
    expect(vm.exit(Access.Fetch).error & layout.EPT_VIOLATION_XU).toBe(0);
    openTables(vm);
    expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
  });
  test("without guest paging every linear address is one of user mode", () => {
    const vm = guest(layout.SECONDARY_MBEC);
    vm.machine.set(Register.Cr0, layout.CR0_PE);
    expect(vm.machine.core.tlbAccess(0, PAGE, Access.Fetch)).toBe(0);
    for (let level = 1; level <= 4; level++) vm.orEpt(PAGE, EPT_XU, level);
    expect(vm.machine.core.tlbAccess(0, PAGE, Access.Fetch)).not.toBe(0);
  });
  test("off, bit 10 is ignored", () => {
    const vm = guest(0n);
    vm.mapEpt(PAGE, vm.page | EPT_PAGE);
    expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
    vm.mapEpt(PAGE, vm.page | (EPT_PAGE & ~EPT_X) | EPT_XU);
    flush(vm);
    expect(vm.exit(Access.Fetch).error).toBe(FINAL | 4 | (3 << 3));
  });
});

describe("page-modification logging", () => {
  const CLEAN = EPT_PAGE & ~layout.EPT_D;
  function logging(index: bigint, flags = layout.EPTP_AD): { vm: Nested; log: bigint } {
    const vm = guest(layout.SECONDARY_PML, flags);
    const log = vm.frame();
    vm.machine.set(Register.PmlAddress, log);
    vm.machine.set(Register.PmlIndex, index);
    return { vm, log };
  }
  const index = (vm: Nested): bigint => vm.machine.core.registerRead(0, Register.PmlIndex);

  test("a write that sets a dirty flag logs the page, once, downwards", () => {
    const { vm, log } = logging(511n);
    vm.mapEpt(PAGE, vm.page | CLEAN);
    vm.access(Access.Read);
    expect(index(vm)).toBe(511n);
    vm.access(Access.Write);
    expect(vm.machine.readPhysical(log + 511n * 8n)).toBe(PAGE);
    expect(index(vm)).toBe(510n);
    flush(vm);
    vm.access(Access.Write);
    expect(index(vm)).toBe(510n);
  });
  test("a large page is logged by the 4-KByte page that was written", () => {
    const { vm, log } = logging(7n);
    const large = 0x8000_0000n;
    vm.mapEpt(large, CLEAN | layout.EPT_PS, 2);
    vm.setGuest(1, (large + 0x1f_3000n) | GUEST);
    expect(vm.access(Access.Modify)).toBe(0x1f_3008n);
    expect(vm.machine.readPhysical(log + 7n * 8n)).toBe(large + 0x1f_3000n);
  });
  test("guest tables are logged too: their entries are written by any walk", () => {
    const { vm, log } = logging(511n);
    for (let i = 0n; i < 4n; i++) vm.mapEpt(GPA + (i << 12n), vm.tables[Number(i)]! | CLEAN);
    vm.access(Access.Read);
    const logged = [0n, 1n, 2n, 3n].map((i) => vm.machine.readPhysical(log + (511n - i) * 8n));
    expect(logged).toEqual([0n, 1n, 2n, 3n].map((i) => GPA + (i << 12n)));
    expect(index(vm)).toBe(507n);
  });
  test("the index goes from 0 to FFFFH, and the next write finds the log full", () => {
    const { vm, log } = logging(0n);
    vm.mapEpt(PAGE, vm.page | CLEAN);
    vm.access(Access.Write);
    expect(vm.machine.readPhysical(log)).toBe(PAGE);
    expect(index(vm)).toBe(0xffffn);
    vm.mapEpt(PAGE, vm.page | CLEAN);
    flush(vm);
    expect(vm.exit(Access.Write)).toMatchObject({ outcome: Outcome.PmlFull, gpa: PAGE + 8n });
    expect(vm.eptLeaf(PAGE) & layout.EPT_D).toBe(0n);
    vm.machine.set(Register.PmlIndex, 511n);
    expect(vm.access(Access.Write)).toBe(vm.page + 8n);
    expect(vm.machine.readPhysical(log + 511n * 8n)).toBe(PAGE);
  });
  test("with a full log no accessed flag is set either, and a walk that sets none goes on", () => {
    const { vm } = logging(512n);
    vm.mapEpt(PAGE, vm.page | (CLEAN & ~layout.EPT_A));
    expect(vm.exit(Access.Read).outcome).toBe(Outcome.PmlFull);
    expect(vm.eptLeaf(PAGE) & layout.EPT_A).toBe(0n);
    vm.mapEpt(PAGE, vm.page | CLEAN);
    expect(vm.access(Access.Read)).toBe(vm.page + 8n);
  });
  test("nothing is logged where EPT keeps no flags, or for a walk without effects", () => {
    const { vm } = logging(0xffffn, 0n);
    expect(vm.access(Access.Write)).toBe(vm.page + 8n);
    const quiet = logging(3n).vm;
    quiet.mapEpt(PAGE, quiet.page | CLEAN);
    expect(quiet.machine.core.translate(0, GVA, Access.Write, 0)).toBe(Outcome.Ok);
    expect(index(quiet)).toBe(3n);
  });
  test("a log outside of memory is missing, and no flag is set", () => {
    const { vm } = logging(511n);
    vm.machine.set(Register.PmlAddress, 0x10_0000_0000n);
    vm.mapEpt(PAGE, vm.page | CLEAN);
    expect(vm.exit(Access.Write).outcome).toBe(Outcome.Missing);
    expect(vm.machine.walk().pa).toBe(0x10_0000_0ff8n);
    expect(vm.eptLeaf(PAGE) & layout.EPT_D).toBe(0n);
  });
  test.each([
    ["PML address: not of a page", Register.PmlAddress, 0x1008n],
    ["PML address: beyond MAXPHYADDR", Register.PmlAddress, 1n << 40n],
    ["PML index of 17 bits", Register.PmlIndex, 0x1_0000n],
    ["a control that is not there", Register.SecondaryControls, 1n << 3n],
  ])("%s is refused", (_name, register, value) => {
    const { core } = new CoreInstance();
    expect(core.registerWrite(0, register, value)).toBe(RegisterWrite.GeneralProtection);
    expect(core.registerRead(0, register)).toBe(0n);
  });
});

describe("advanced VM-exit information", () => {
  const cases: [string, bigint, number][] = [
    ["user, read/write", GUEST, layout.EPT_VIOLATION_USER | layout.EPT_VIOLATION_GUEST_WRITABLE],
    ["supervisor, read/write", GUEST & ~layout.PTE_US, layout.EPT_VIOLATION_GUEST_WRITABLE],
    ["user, read-only", GUEST & ~layout.PTE_RW, layout.EPT_VIOLATION_USER],
    [
      "user, execute-disable",
      GUEST | layout.PTE_XD,
      layout.EPT_VIOLATION_USER | layout.EPT_VIOLATION_GUEST_WRITABLE | layout.EPT_VIOLATION_GUEST_XD,
    ],
  ];
  function telling(): Nested {
    const vm = guest(0n);
    vm.machine.set(Register.EptVpidCap, layout.EPT_CAP_EXECUTE_ONLY | layout.EPT_CAP_ADVANCED);
    return vm;
  }
  for (const [name, entry, bits] of cases) {
    test(`${name}: in an exit of the page, by the fast form and by the loop`, () => {
      const vm = telling();
      vm.setGuest(1, PAGE | entry);
      vm.mapEpt(PAGE, 0n);
      expect(vm.exit(Access.Read).error).toBe(FINAL | 1 | bits);
      vm.mapEpt(PAGE, vm.page | EPT_X);
      expect(vm.exit(Access.Read).error).toBe(FINAL | 1 | (4 << 3) | bits);
    });
  }
  test("not in an exit of a guest table", () => {
    const vm = telling();
    vm.mapEpt(GPA, 0n);
    expect(vm.exit(Access.Read).error).toBe(layout.EPT_VIOLATION_LINEAR | 3);
  });
  test("without guest paging: user, read/write, executable", () => {
    const vm = telling();
    vm.machine.set(Register.Cr0, layout.CR0_PE);
    vm.mapEpt(PAGE, 0n);
    expect(vm.machine.core.tlbAccess(0, PAGE, Access.Read)).toBe(0);
    const bits = layout.EPT_VIOLATION_USER | layout.EPT_VIOLATION_GUEST_WRITABLE;
    expect(vm.machine.walk().error).toBe(FINAL | 1 | bits);
  });
  test("not from a processor without it", () => {
    const vm = guest(0n);
    vm.mapEpt(PAGE, 0n);
    expect(vm.exit(Access.Read).error).toBe(FINAL | 1);
  });
});

test("execute-only is a misconfiguration on a processor without it", () => {
  const vm = guest(0n);
  vm.machine.set(Register.EptVpidCap, 0n);
  vm.mapEpt(PAGE, vm.page | (EPT_PAGE & ~(EPT_R | EPT_W)));
  expect(vm.exit(Access.Fetch).outcome).toBe(Outcome.EptMisconfiguration);
  vm.machine.set(Register.EptVpidCap, layout.EPT_CAP_EXECUTE_ONLY);
  expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
});

describe("five levels", () => {
  test("a walk of 29 references, flags at every level", () => {
    const vm = new Nested(layout.EPTP_AD, 0, 5);
    expect(vm.access()).toBe(vm.page + 8n);
    expect(vm.machine.core.translate(0, GVA, Access.Read, 0)).toBe(Outcome.Ok);
    const { steps } = vm.machine.walk();
    expect(steps).toHaveLength(29);
    expect(steps.slice(0, 6).map((s) => s.level)).toEqual([5, 4, 3, 2, 1, 4]);
  });
  test("and of 35 with five guest levels", () => {
    const vm = new Nested(layout.EPTP_AD, 0, 5);
    const { machine } = vm;
    machine.core.cpuReset(0);
    const top = GPA + 0x5000n;
    const hpa = vm.frame();
    vm.mapEpt(top, hpa | EPT_PAGE);
    machine.writePhysical(hpa + 8n * ((GVA >> 48n) & 0x1ffn), GPA | GUEST);
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_LA57);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
    machine.set(Register.Cr3, top);
    machine.set(Register.Eptp, vm.ept | vm.type | layout.EPTP_AD);
    expect(vm.access()).toBe(vm.page + 8n);
    expect(machine.core.translate(0, GVA, Access.Read, 0)).toBe(Outcome.Ok);
    expect(machine.walk().steps).toHaveLength(35);
  });
  test("bit 48 of a guest-physical address counts", () => {
    const vm = new Nested(0n, 0, 5);
    const { machine } = vm;
    machine.set(Register.Cr0, layout.CR0_PE);
    const far = vm.frame();
    vm.mapEpt(1n << 48n, far | EPT_PAGE);
    expect(machine.core.tlbAccess(0, 1n << 48n, Access.Read) >>> 0).toBe(machine.frame(far));
    expect(machine.core.tlbAccess(0, 1n << 57n, Access.Read)).toBe(0);
    expect(machine.walk().outcome).toBe(Outcome.EptViolation);
  });
  test("a PML5E with a reserved bit is a misconfiguration", () => {
    const vm = new Nested(0n, 0, 5);
    vm.orEpt(GPA, layout.EPT_PS, 5);
    expect(vm.exit(Access.Read).outcome).toBe(Outcome.EptMisconfiguration);
  });
  test("the EPT pointer is refused by a processor without them", () => {
    const vm = new Nested(0n, 0);
    vm.machine.set(Register.EptVpidCap, 0n);
    const five = vm.ept | layout.EPTP_WB_5LEVEL;
    expect(vm.machine.core.registerWrite(0, Register.Eptp, five)).toBe(RegisterWrite.GeneralProtection);
    vm.machine.set(Register.EptVpidCap, layout.EPT_CAP_5LEVEL);
    expect(vm.machine.core.registerWrite(0, Register.Eptp, five)).toBe(RegisterWrite.Ok);
  });
});

// A processor whose physical memory is windows, filled on demand with the words of one vector.
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance, type RecordedWalk } from "../core-instance.js";

const { Access, MachineOption, Outcome, Register } = layout;

/** Letters of the vectors' access field. */
export const ACCESS: Record<string, number> = {
  r: Access.Read,
  w: Access.Write,
  x: Access.Fetch,
  m: Access.Modify,
  s: Access.StackRead,
  i: Access.ImplicitRead,
};

/** Bits of the vectors' control field. */
export const CONTROL = {
  wp: 0x1,
  smep: 0x2,
  smap: 0x4,
  pke: 0x8,
  pks: 0x10,
  pge: 0x20,
  pcide: 0x40,
  nxe: 0x80,
  ac: 0x100,
  user: 0x200,
  la57: 0x400,
} as const;

/** The control state of a vector, and the access. */
export interface State {
  control: number;
  cr3: bigint;
  eptp: bigint;
  pkru: bigint;
  pkrs: bigint;
}

export interface Word {
  pa: bigint;
  value: bigint;
}

export class Processor {
  readonly machine: CoreInstance;
  private pages = new Map<bigint, Word[]>();

  constructor(options: { page1G: boolean }) {
    this.machine = new CoreInstance({
      frameCount: 16,
      windowCount: 128,
      options: options.page1G ? MachineOption.Page1GB : 0,
    });
  }

  /** Loads the control state in the order that an operating system would. */
  load(state: State): void {
    const { machine } = this;
    const has = (bit: number, value: bigint): bigint => ((state.control & bit) !== 0 ? value : 0n);
    machine.core.cpuReset(0);
    machine.set(Register.Efer, layout.EFER_LME | has(CONTROL.nxe, layout.EFER_NXE));
    const base = layout.CR4_PAE | has(CONTROL.la57, layout.CR4_LA57);
    machine.set(Register.Cr4, base);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | has(CONTROL.wp, layout.CR0_WP));
    machine.set(
      Register.Cr4,
      base |
        has(CONTROL.smep, layout.CR4_SMEP) |
        has(CONTROL.smap, layout.CR4_SMAP) |
        has(CONTROL.pke, layout.CR4_PKE) |
        has(CONTROL.pks, layout.CR4_PKS) |
        has(CONTROL.pge, layout.CR4_PGE) |
        has(CONTROL.pcide, layout.CR4_PCIDE),
    );
    machine.set(Register.Cr3, state.cr3);
    machine.set(Register.Pkru, state.pkru);
    machine.set(Register.Pkrs, state.pkrs);
    machine.set(Register.Rflags, has(CONTROL.ac, layout.RFLAGS_AC));
    machine.set(Register.Cpl, has(CONTROL.user, 3n));
    machine.set(Register.Eptp, state.eptp);
  }

  /** Makes these words all there is in physical memory. */
  hold(words: readonly Word[]): void {
    this.machine.core.windowClear();
    this.pages.clear();
    for (const word of words) {
      const page = word.pa >> 12n;
      const there = this.pages.get(page);
      if (there) there.push(word);
      else this.pages.set(page, [word]);
    }
  }

  /** Makes the access; fills windows as the walk asks for them. */
  access(gva: bigint, access: number, effects = true): RecordedWalk {
    const { core } = this.machine;
    while (core.translateInWindows(0, gva, access, effects ? 1 : 0) === Outcome.Missing) {
      this.fill(this.machine.walk().pa);
    }
    return this.machine.walk();
  }

  /** The word at `pa` now; what was never looked at is as it was. */
  now(word: Word): bigint {
    const at = this.machine.core.windowFind(word.pa) >>> 0;
    return at ? this.machine.view.getBigUint64(at, true) : word.value;
  }

  private fill(pa: bigint): void {
    const { core, view } = this.machine;
    const at = core.windowPut(pa) >>> 0;
    new Uint8Array(view.buffer, at, 4096).fill(0);
    for (const word of this.pages.get(pa >> 12n) ?? []) {
      view.setBigUint64(at + Number(word.pa & 0xfffn), word.value, true);
    }
  }
}

/** The control state as a person reads it. */
export function showControl(control: number): string {
  const names = Object.entries(CONTROL).filter(([, bit]) => control & bit);
  return names.map(([name]) => name).join(" ") || "none";
}

/** A walk, an entry a line. */
export function showWalk(walk: RecordedWalk): string {
  return walk.steps
    .map((s) => {
      const kind = s.nested ? "    ept" : "guest";
      return `    ${kind} level ${s.level} at 0x${s.pa.toString(16)}: 0x${s.entry.toString(16)}`;
    })
    .join("\n");
}

// A guest over EPT, in frames, for tests of the processor alone.
import { expect } from "vitest";
import * as layout from "../src/core/layout.generated.js";
import { CoreInstance } from "./core-instance.js";

const { Access, Register } = layout;
export const GUEST = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;
export const EPT_TABLE = layout.EPT_RWX | layout.EPT_A;
export const EPT_PAGE = layout.EPT_RWX | layout.EPT_MEMTYPE_WB | layout.EPT_A | layout.EPT_D;
export const GVA = 0x0000_7f12_4000_0000n;
/** Guest-physical addresses begin here, and mean nothing as host-physical ones. */
export const GPA = 0x12_3400_0000n;

/** A guest of four table pages and one page, each mapped by EPT to a frame of its own. */
export class Nested {
  readonly machine: CoreInstance;
  private next = 1n;
  ept: bigint;
  readonly tables: bigint[] = [];
  readonly page: bigint;

  constructor(
    flags: bigint,
    walkCacheEntries: number,
    readonly levels: 4 | 5 = 4,
  ) {
    const machine = (this.machine = new CoreInstance({ frameCount: 1024, walkCacheEntries }));
    this.ept = this.frame();
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
    machine.set(Register.Cr3, GPA);
    machine.set(Register.Eptp, this.ept | this.type | flags);
    for (let i = 0n; i < 4n; i++) {
      const hpa = this.frame();
      this.tables.push(hpa);
      this.mapEpt(GPA + (i << 12n), hpa | EPT_PAGE);
    }
    this.page = this.frame();
    this.mapEpt(GPA + 0x4000n, this.page | EPT_PAGE);
    for (let level = 4; level >= 1; level--) this.setGuest(level, (GPA + (BigInt(5 - level) << 12n)) | GUEST);
  }
  /** Memory type and levels of the EPT pointer. */
  get type(): bigint {
    return this.levels === 5 ? layout.EPTP_WB_5LEVEL : layout.EPTP_WB_4LEVEL;
  }
  frame(): bigint {
    return this.next++ << 12n;
  }
  mapEpt(gpa: bigint, entry: bigint, level = 1): void {
    let table = this.ept;
    for (let l: number = this.levels; l > level; l--) {
      const at = table + 8n * ((gpa >> BigInt(3 + 9 * l)) & 0x1ffn);
      if (this.machine.readPhysical(at) === 0n) this.machine.writePhysical(at, this.frame() | EPT_TABLE);
      table = this.machine.readPhysical(at) & layout.PTE_ADDRESS;
    }
    this.machine.writePhysical(table + 8n * ((gpa >> BigInt(3 + 9 * level)) & 0x1ffn), entry);
  }
  /** Sets bits in the EPT entry of `level` for `gpa`. */
  orEpt(gpa: bigint, bits: bigint, level: number): void {
    let table = this.ept;
    const at = (l: number): bigint => table + 8n * ((gpa >> BigInt(3 + 9 * l)) & 0x1ffn);
    for (let l: number = this.levels; l > level; l--)
      table = this.machine.readPhysical(at(l)) & layout.PTE_ADDRESS;
    this.machine.writePhysical(at(level), this.machine.readPhysical(at(level)) | bits);
  }
  eptLeaf(gpa: bigint): bigint {
    let table = this.ept;
    for (let l: number = this.levels; l > 1; l--) {
      table =
        this.machine.readPhysical(table + 8n * ((gpa >> BigInt(3 + 9 * l)) & 0x1ffn)) & layout.PTE_ADDRESS;
    }
    return this.machine.readPhysical(table + 8n * ((gpa >> 12n) & 0x1ffn));
  }
  private guestAt(level: number): bigint {
    return this.tables[4 - level]! + 8n * ((GVA >> BigInt(3 + 9 * level)) & 0x1ffn);
  }
  setGuest(level: number, entry: bigint): void {
    this.machine.writePhysical(this.guestAt(level), entry);
  }
  guest(level: number): bigint {
    return this.machine.readPhysical(this.guestAt(level));
  }
  /** Through TLB and walk; null if it failed. */
  access(access: number = Access.Read): bigint | null {
    const host = this.machine.core.tlbAccess(0, GVA + 8n, access) >>> 0;
    return host ? BigInt(host - this.machine.frame(0n)) : null;
  }
  probe(access: number): boolean {
    return this.machine.core.tlbProbe(0, GVA, access) !== 0;
  }
  exit(access: number): { outcome: number; gpa: bigint; error: number } {
    expect(this.access(access)).toBe(null);
    const { outcome, gpa, error } = this.machine.walk();
    return { outcome, gpa, error };
  }
}

/**
 * Virtual machine control blocks of AMD in memory, found by what VMRUN itself insists on (AMD APM vol. 2, 15.5.1 and
 * appendix B): the only record of a nested root that has a documented form. Intel's VMCS has none: name its EPT pointer.
 */

import { CR0_PG, CR4_PAE, EFER_LMA, EFER_LME } from "../core/layout.generated.js";
import { type PhysicalMemory } from "../images/types.js";
import { type Tables } from "./tables.js";

/** Byte offsets into a VMCB: the control area, then the state save area from 0x400 on. */
const INTERCEPTS_SVM = 0x10; // bit 0: VMRUN, which a VMCB must intercept
const ASID = 0x58;
const NP_ENABLE = 0x90; // bit 0
const N_CR3 = 0xb0;
const SAVE_CPL = 0x4cb;
const SAVE_EFER = 0x4d0;
const SAVE_CR4 = 0x548;
const SAVE_CR3 = 0x550;
const SAVE_CR0 = 0x558;
const SAVE_RFLAGS = 0x570;
const SAVE_RIP = 0x578;

const EFER_SVME = 1n << 12n;
/** EFER: SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE and the bits of newer parts below 22. */
const EFER_KNOWN = 0x3f_fd01n;
const RFLAGS_ALWAYS_1 = 2n;
const PHYSICAL_ADDRESS = (1n << 52n) - 1n;

/** A control block whose guest uses nested paging. */
export interface Vmcb {
  /** Physical address of the block. */
  readonly pa: bigint;
  /** N_CR3: the root of the nested tables. */
  readonly ncr3: bigint;
  readonly asid: number;
  /** The guest's state when it last left guest mode; the live registers may have moved on. */
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cpl: number;
  /** Clauses: what speaks for it. */
  readonly evidence: readonly string[];
}

/** True if a page may be a VMCB: what costs little to ask of every page. */
export function mayBeVmcb(words: Uint32Array, at: number): boolean {
  const word = (offset: number): number => words[at + offset / 4]!;
  return (
    (word(SAVE_EFER) & Number(EFER_SVME)) !== 0 &&
    word(SAVE_EFER + 4) === 0 &&
    (word(NP_ENABLE) & 1) === 1 &&
    (word(INTERCEPTS_SVM) & 1) === 1 &&
    word(ASID) !== 0 &&
    (word(N_CR3) & 0xfff) === 0 &&
    (word(N_CR3) | word(N_CR3 + 4)) !== 0
  );
}

/** The VMCB in the page `pfn`; null if it is none that VMRUN would take, or its nested tables make no sense. */
export function vmcbAt(memory: PhysicalMemory, tables: Tables, pfn: number): Vmcb | null {
  const page = new Uint8Array(4096);
  if (!memory.readPage(pfn, page) || !mayBeVmcb(new Uint32Array(page.buffer), 0)) return null;
  const view = new DataView(page.buffer);
  const word = (offset: number): bigint => view.getBigUint64(offset, true);
  const state = {
    ncr3: word(N_CR3),
    asid: view.getUint32(ASID, true),
    cr0: word(SAVE_CR0),
    cr3: word(SAVE_CR3),
    cr4: word(SAVE_CR4),
    efer: word(SAVE_EFER),
    rip: word(SAVE_RIP),
    rflags: word(SAVE_RFLAGS),
    cpl: view.getUint8(SAVE_CPL),
  };
  if (!isStateConsistent(state)) return null;
  const root = Number(state.ncr3 >> 12n);
  const below = tables.check(root, 4);
  if (below.leaves === 0 || below.implausible * 16 > below.entries) return null;
  return {
    pa: BigInt(pfn) * 4096n,
    ...state,
    evidence: [
      "NP_ENABLE, the VMRUN intercept and EFER.SVME are set, and the saved CR0, CR3, CR4, EFER and RFLAGS are such as VMRUN takes",
      `N_CR3 is a page of the image whose tables map ${below.leaves} pages in those looked at`,
    ],
  };
}

/** The checks of VMRUN (APM vol. 2, 15.5.1) that can be made from the block alone. */
function isStateConsistent(state: Omit<Vmcb, "pa" | "evidence">): boolean {
  const { cr0, cr3, cr4, efer, rflags, ncr3, cpl } = state;
  const long = (efer & EFER_LMA) !== 0n;
  return (
    cr0 >> 32n === 0n &&
    cr4 >> 32n === 0n &&
    (efer & ~EFER_KNOWN) === 0n &&
    (cr3 & ~PHYSICAL_ADDRESS) === 0n &&
    (ncr3 & ~PHYSICAL_ADDRESS) === 0n &&
    (rflags & RFLAGS_ALWAYS_1) !== 0n &&
    rflags >> 32n === 0n &&
    cpl <= 3 &&
    // LMA follows from LME and PG, and long mode has PAE.
    (!long || ((efer & EFER_LME) !== 0n && (cr0 & CR0_PG) !== 0n && (cr4 & CR4_PAE) !== 0n))
  );
}

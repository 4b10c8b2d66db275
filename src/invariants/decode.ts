/** What the events say, in numbers: pages and frames instead of packed words. */

import {
  Note,
  PAGE_STRUCT_SIZE,
  PTE_ADDRESS,
  PTE_P,
  PTE_PS,
  PTE_RW,
  SPTE_HOST_WRITABLE,
  SPTE_MMU_WRITABLE,
  SPTE_SHADOW_PRESENT,
  SPTE_W,
} from "../core/layout.generated.js";
import { type CheckedEvent, type MachineFacts, type Objection } from "./checker.js";

/** Attributes of a run of leaves (spans.ts). */
export const WRITABLE = 1;
export const MMU_WRITABLE = 2;
export const HOST_WRITABLE = 4;
/** A host leaf without a reference on its page: a remapped pfn. */
export const SPECIAL = 8;
/** Bit 9 of a host entry, as Linux has it (_PAGE_SPECIAL). */
const PTE_SPECIAL = 1n << 9n;
/** In a host entry: the page is a device's (_PAGE_DEVMAP, bit 58). */
export const DEVMAP = 1n << 58n;
/** The leaf is one of 2 MiB or more; the attributes hold its shift in bits 13:8 then. */
export const SHIFT_AT = 8;

const PAGE_BITS = 12n;
const SIGNED_32 = 32;

/** A leaf, of either MMU. `pfn` is that of its first page; -1 if there is none. */
export interface Leaf {
  readonly first: number;
  readonly end: number;
  readonly shift: number;
  readonly pfn: number;
  readonly bits: number;
  /** The entry leads to a lower table instead. */
  readonly table: boolean;
}

function leaf(
  page: bigint,
  shift: number,
  entry: bigint,
  present: boolean,
  bits: number,
  table: boolean,
): Leaf {
  const pages = 2 ** (shift - 12);
  const first = Math.floor(Number(page) / pages) * pages;
  const pfn = present && !table ? Number((entry & PTE_ADDRESS) >> PAGE_BITS) : -1;
  return { first, end: first + pages, shift, pfn, bits: bits | (shift << SHIFT_AT), table };
}

/** Bits 15:8 of HostLeaf and SpteLeaf: a large leaf became a table of leaves of the same pages and rights (assembly/note.ts). */
const SPLIT = 1;

/** HostLeaf: pages are hva >> 12. An entry without P (none, PROT_NONE) maps nothing that a listener may use. */
export function hostLeafOf(event: CheckedEvent): Leaf {
  const shift = Number(event.a & 0x3fn);
  const present = (event.b & PTE_P) !== 0n;
  const bits = ((event.b & PTE_RW) !== 0n ? WRITABLE : 0) | ((event.b & PTE_SPECIAL) !== 0n ? SPECIAL : 0);
  const table = event.sub === SPLIT || (present && shift > 12 && !(event.b & PTE_PS));
  return leaf(event.a >> PAGE_BITS, shift, event.b, present, bits, table);
}

/** SpteLeaf and SpteLink: pages are gfns. Frozen and zapped entries map nothing. */
export function spteOf(event: CheckedEvent): Leaf {
  const shift = Number(event.a >> 56n);
  const present = (event.b & SPTE_SHADOW_PRESENT) !== 0n;
  const bits =
    ((event.b & SPTE_W) !== 0n ? WRITABLE : 0) |
    ((event.b & SPTE_MMU_WRITABLE) !== 0n ? MMU_WRITABLE : 0) |
    ((event.b & SPTE_HOST_WRITABLE) !== 0n ? HOST_WRITABLE : 0);
  const table = present && (event.kind === Note.SpteLink || event.sub === SPLIT);
  return leaf(event.a & 0xff_ffff_ffff_ffffn, shift, event.b, present, bits, table);
}

/** pfn that an SPTE names, link or leaf. */
export function sptePfn(event: CheckedEvent): number {
  return Number((event.b & PTE_ADDRESS) >> PAGE_BITS);
}

/** Frames of PageAlloc and PageFree: [first, count, references]. */
export function framesOf(event: CheckedEvent): { first: number; count: number; references: number } {
  const order = Number(event.b & 0xffn);
  return { first: Number(event.a), count: 2 ** order, references: Number(event.b >> 8n) };
}

/** A signed 32-bit value that travels as u64. */
export function signed(value: bigint): number {
  return Number(BigInt.asIntN(SIGNED_32, value));
}

/** Argument b of the use events: the address, and whether it is a store. */
export function useOf(event: CheckedEvent): { address: number; write: boolean } {
  return { address: Number(event.b >> 1n), write: (event.b & 1n) !== 0n };
}

/** pfn of an address within the frames, else -1. */
export function pfnOf(facts: MachineFacts, address: number): number {
  const pfn = Math.floor((address - facts.layout.framesBase) / 4096);
  return pfn >= 0 && pfn < facts.layout.frameCount ? pfn : -1;
}

/** struct page that an address lies in, and the offset in it; null if in none. */
export function structPageOf(facts: MachineFacts, address: number): { pfn: number; offset: number } | null {
  const at = address - facts.layout.pagesBase;
  const pfn = Math.floor(at / PAGE_STRUCT_SIZE);
  if (pfn < 0 || pfn >= facts.layout.frameCount) return null;
  return { pfn, offset: at % PAGE_STRUCT_SIZE };
}

/** TlbFill and TlbDrop, bits 15:8: log2 of the entry's size. A large entry is checked by the addresses it is used for. */
export function isLarge(event: CheckedEvent): boolean {
  return event.sub > 12;
}

/**
 * TlbFlush, bits 15:8: global entries are spared. Nothing is forgotten then: an entry that did go is told of again before
 * it is used again.
 */
export function sparesGlobal(event: CheckedEvent): boolean {
  return event.sub !== 0;
}

/** Arguments of ACCESS. */
export function accessOf(event: CheckedEvent): {
  address: number;
  size: number;
  atomic: boolean;
  write: boolean;
} {
  const packed = Number(event.b);
  return {
    address: Number(event.a),
    size: Math.floor(packed / 4),
    atomic: (packed & 2) !== 0,
    write: (packed & 1) !== 0,
  };
}

/** hva >> 12 of a gfn by the memslots the exploration began with; undefined if none has it. */
export function hvaPageOf(facts: MachineFacts, gfn: number): number | undefined {
  for (const slot of facts.slots) {
    const offset = gfn - Number(slot.baseGfn);
    if (offset >= 0 && offset < Number(slot.npages)) return Number(slot.hva >> PAGE_BITS) + offset;
  }
  return undefined;
}

/** gfns of hva pages [first, end), slot by slot. */
export function gfnsOf(
  facts: MachineFacts,
  first: number,
  end: number,
): readonly { readonly first: number; readonly end: number }[] {
  const ranges: { first: number; end: number }[] = [];
  for (const slot of facts.slots) {
    const hva = Number(slot.hva >> PAGE_BITS);
    const from = Math.max(first, hva);
    const to = Math.min(end, hva + Number(slot.npages));
    const base = Number(slot.baseGfn) - hva;
    if (from < to) ranges.push({ first: from + base, end: to + base });
  }
  return ranges;
}

/** The first objection to the guest frames of hva pages [first, end), asked range by range. */
export function inGfnsOf(
  facts: MachineFacts,
  first: number,
  end: number,
  objection: (first: number, end: number) => Objection | null,
): Objection | null {
  for (const range of gfnsOf(facts, first, end)) {
    const found = objection(range.first, range.end);
    if (found) return found;
  }
  return null;
}

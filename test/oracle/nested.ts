// The nested dimension, from the manuals: EPT with accessed and dirty flags, mode-based execute control, page-modification
// logging and advanced information (SDM vol. 3C, 29.3 and 28.2.1), and the nested paging of AMD (APM vol. 2, 15.25).
import { type OracleMemory } from "./memory.js";
import { type Rights, bit, field } from "./paging.js";

export interface Ept {
  kind: "ept";
  eptp: bigint;
  /** IA32_VMX_EPT_VPID_CAP: execute-only translations, advanced information. */
  executeOnly: boolean;
  advanced: boolean;
  /** "Mode-based execute control for EPT" is 1. */
  modeBased: boolean;
  /** The page-modification log, if "enable PML" is 1. `index` is counted down. */
  log: { address: bigint; index: number } | null;
}
export interface Npt {
  kind: "npt";
  ncr3: bigint;
  levels: 4 | 5;
  /** EFER.NXE of the host. */
  nxe: boolean;
}
export type Nested = Ept | Npt;

/** What the nested dimension has to know of the processor. */
export interface Shape {
  width: number;
  page1G: boolean;
}

/** A use of a guest-physical address. */
export interface Reference {
  gpa: bigint;
  read: boolean;
  write: boolean;
  fetch: boolean;
  /** Of the guest's tables; the update of a flag there is a use of its own, which writes. */
  table: boolean;
  /** What the guest's tables say of the linear address; of an access to them, nothing. */
  linear: Rights | null;
}

/** Why the access ends in the hypervisor. */
export type Exit =
  | { kind: "ept-violation"; gpa: bigint; qualification: bigint }
  | { kind: "ept-misconfiguration"; gpa: bigint }
  | { kind: "pml-full"; gpa: bigint }
  | { kind: "nested-page-fault"; gpa: bigint; info: bigint };

/** `entries`: those used, as they are by now. */
export type Reached = { kind: "ok"; hpa: bigint; shift: number; entries: readonly bigint[] } | Exit;

/** 29.3.2: bits that must be zero in a present EPT entry, by its level. */
function eptReserved(entry: bigint, level: number, shape: Shape): boolean {
  for (let i = shape.width; i <= 51; i++) if (bit(entry, i)) return true;
  if (level >= 4) return field(entry, 7, 3) !== 0n;
  if (level === 1) return false;
  if (!bit(entry, 7)) return field(entry, 6, 3) !== 0n;
  if (level === 3) return !shape.page1G || field(entry, 29, 12) !== 0n;
  return field(entry, 20, 12) !== 0n;
}

/** 29.3.3.1 */
function isMisconfigured(entry: bigint, level: number, ept: Ept, shape: Shape): boolean {
  if (!bit(entry, 0)) {
    if (bit(entry, 1)) return true;
    if (!ept.executeOnly && (bit(entry, 2) || (ept.modeBased && bit(entry, 10)))) return true;
  }
  if (eptReserved(entry, level, shape)) return true;
  const mapsPage = level === 1 || (level <= 3 && bit(entry, 7));
  return mapsPage && [2n, 3n, 7n].includes(field(entry, 5, 3));
}

/** 28.2.1, table 28-7. `entries` are those used, or null if one was not present. */
function qualificationOf(use: Reference, ept: Ept, entries: readonly bigint[] | null): bigint {
  const flags: [boolean, number][] = [
    [use.read, 0],
    [use.write, 1],
    [use.fetch, 2],
    [entries !== null && entries.every((e) => bit(e, 0)), 3],
    [entries !== null && entries.every((e) => bit(e, 1)), 4],
    [entries !== null && entries.every((e) => bit(e, 2)), 5],
    [entries !== null && ept.modeBased && entries.every((e) => bit(e, 10)), 6],
    [true, 7],
    [!use.table, 8],
    [ept.advanced && use.linear !== null && use.linear.user, 9],
    [ept.advanced && use.linear !== null && use.linear.writable, 10],
    [ept.advanced && use.linear !== null && use.linear.executeDisable, 11],
  ];
  return flags.reduce((sum, [on, index]) => (on ? sum | (1n << BigInt(index)) : sum), 0n);
}

/** 29.3.3.2: does an entry, together with the others, forbid the use? */
function eptForbids(use: Reference, ept: Ept, entries: readonly bigint[]): boolean {
  if (use.read && !entries.every((e) => bit(e, 0))) return true;
  if (use.write && !entries.every((e) => bit(e, 1))) return true;
  if (!use.fetch) return false;
  const executable = ept.modeBased && use.linear !== null && use.linear.user ? 10 : 2;
  return !entries.every((e) => bit(e, executable));
}

/**
 * 29.3.5 and 29.3.6: sets the flags of one entry, and logs the page if its dirty flag was clear. False: a flag has to be
 * set and the log is full, so it is not.
 */
function setEptFlags(use: Reference, ept: Ept, place: bigint, leaf: boolean, memory: OracleMemory): boolean {
  if (!bit(ept.eptp, 6)) return true;
  const flags = 0x100n | (leaf && use.write ? 0x200n : 0n);
  const { value, must } = memory.words.get(place)!;
  if ((flags & ~(value ^ must)) === 0n) return true;
  if (ept.log === null) {
    memory.set(place, flags);
    return true;
  }
  if (ept.log.index > 511) return false;
  const at = ept.log.address + 8n * BigInt(ept.log.index);
  const log = { nested: true, level: 0 };
  // The core looks for the word before it knows that a page will be logged.
  memory.read(at, log);
  if ((memory.set(place, flags) & 0x200n) !== 0n) {
    memory.write(at, log, use.gpa & ~0xfffn);
    ept.log.index = ept.log.index === 0 ? 0xffff : ept.log.index - 1;
  }
  return true;
}

function reachByEpt(use: Reference, ept: Ept, shape: Shape, memory: OracleMemory): Reached {
  const { gpa } = use;
  const levels = Number(field(ept.eptp, 5, 3)) + 1;
  const violation = (entries: readonly bigint[] | null): Exit => ({
    kind: "ept-violation",
    gpa,
    qualification: qualificationOf(use, ept, entries),
  });
  // 29.3.2: an address with bits beyond those that the tables translate is in none of them.
  if (gpa >> BigInt(12 + 9 * levels) !== 0n) return violation(null);
  const entries: bigint[] = [];
  let table = field(ept.eptp, 51, 12) << 12n;
  for (let level = levels; ; level--) {
    const shift = 3 + 9 * level;
    const place = table + 8n * field(gpa, shift + 8, shift);
    const entry = memory.read(place, { nested: true, level });
    const present = field(entry, 2, 0) !== 0n || (ept.modeBased && bit(entry, 10));
    if (!present) return violation(null);
    if (isMisconfigured(entry, level, ept, shape)) return { kind: "ept-misconfiguration", gpa };
    entries.push(entry);
    const leaf = level === 1 || (level <= 3 && bit(entry, 7));
    if (leaf && eptForbids(use, ept, entries)) return violation(entries);
    if (!setEptFlags(use, ept, place, leaf, memory)) return { kind: "pml-full", gpa };
    if (!leaf) {
      table = field(entry, 51, 12) << 12n;
      continue;
    }
    entries[entries.length - 1] = memory.read(place, { nested: true, level });
    return {
      kind: "ok",
      hpa: (field(entry, 51, shift) << BigInt(shift)) | field(gpa, shift - 1, 0),
      shift,
      entries,
    };
  }
}

/** May a use be made by a translation that the processor has kept? With dirty flags a write needs one that is dirty. */
export function eptAllows(use: Reference, ept: Ept, entries: readonly bigint[]): boolean {
  if (use.write && bit(ept.eptp, 6) && !bit(entries.at(-1)!, 9)) return false;
  return !eptForbids(use, ept, entries);
}

/** 15.25.6: EXITINFO1 of a nested page fault; the low bits are those of a #PF by an access of user mode. */
function nestedInfo(use: Reference, npt: Npt, causes: { present: boolean; reserved: boolean }): bigint {
  const flags: [boolean, number][] = [
    [causes.present, 0],
    [use.write, 1],
    [true, 2],
    [causes.reserved, 3],
    [use.fetch && npt.nxe, 4],
    [!use.table, 32],
    [use.table, 33],
  ];
  return flags.reduce((sum, [on, index]) => (on ? sum | (1n << BigInt(index)) : sum), 0n);
}

/** The formats are those of ordinary paging; every use counts as one of user mode (15.25.5). */
function reachByNpt(use: Reference, npt: Npt, shape: Shape, memory: OracleMemory): Reached {
  const { gpa } = use;
  const places: bigint[] = [];
  const entries: bigint[] = [];
  const fault = (causes: { present: boolean; reserved: boolean }): Exit => {
    for (const place of places) memory.allow(place, 0x20n);
    return { kind: "nested-page-fault", gpa, info: nestedInfo(use, npt, causes) };
  };
  if (gpa >> BigInt(12 + 9 * npt.levels) !== 0n) return fault({ present: false, reserved: false });
  const reserved = (entry: bigint, level: number): boolean => {
    for (let i = shape.width; i <= 51; i++) if (bit(entry, i)) return true;
    if (!npt.nxe && bit(entry, 63)) return true;
    if (level >= 4) return bit(entry, 7);
    if (level === 1 || !bit(entry, 7)) return false;
    return level === 3 ? !shape.page1G || field(entry, 29, 13) !== 0n : field(entry, 20, 13) !== 0n;
  };
  let table = field(npt.ncr3, 51, 12) << 12n;
  for (let level: number = npt.levels; ; level--) {
    const shift = 3 + 9 * level;
    const place = table + 8n * field(gpa, shift + 8, shift);
    const entry = memory.read(place, { nested: true, level });
    if (!bit(entry, 0)) return fault({ present: false, reserved: false });
    if (reserved(entry, level)) return fault({ present: true, reserved: true });
    places.push(place);
    entries.push(entry);
    if (level > 1 && !(level <= 3 && bit(entry, 7))) {
      table = field(entry, 51, 12) << 12n;
      continue;
    }
    const forbidden =
      !entries.every((e) => bit(e, 2)) ||
      (use.write && !entries.every((e) => bit(e, 1))) ||
      (use.fetch && npt.nxe && entries.some((e) => bit(e, 63)));
    if (forbidden) return fault({ present: true, reserved: false });
    places.forEach((at, i) => memory.set(at, use.write && i === places.length - 1 ? 0x60n : 0x20n));
    return {
      kind: "ok",
      hpa: (field(entry, 51, shift) << BigInt(shift)) | field(gpa, shift - 1, 0),
      shift,
      entries,
    };
  }
}

/** Where a guest-physical address is, with the flags of the nested tables set; or why the use ends in the hypervisor. */
export function reach(use: Reference, nested: Nested, shape: Shape, memory: OracleMemory): Reached {
  return nested.kind === "ept"
    ? reachByEpt(use, nested, shape, memory)
    : reachByNpt(use, nested, shape, memory);
}

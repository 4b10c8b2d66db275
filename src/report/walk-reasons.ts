/**
 * Why a walk ends as it does, found again from the entries it read and the registers that governed it: the rules of SDM
 * vol. 3A 4.6 and 4.7, of vol. 3C 29.3.3, and of APM vol. 2 15.25. Nothing of the reported error code goes in, so that
 * the two can be held against each other.
 */

import {
  EPT_1G_RESERVED,
  EPT_2M_RESERVED,
  EPT_MEMTYPE,
  EPT_PML4E_RESERVED,
  EPT_PS,
  EPT_R,
  EPT_RWX,
  EPT_TABLE_RESERVED,
  EPT_VIOLATION_RIGHTS_SHIFT,
  EPT_W,
  EPT_X,
  EPT_XU,
  PFERR_ID,
  PFERR_P,
  PFERR_PK,
  PFERR_RSVD,
  PFERR_US,
  PFERR_WR,
  PTE_1G_RESERVED,
  PTE_2M_RESERVED,
  PTE_ADDRESS,
  PTE_KEY_SHIFT,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
  PTE_XD,
} from "../core/layout.generated.js";
import { hex } from "../machine/address.js";
import { bitsInWords, entryInWords, listInWords, PAGE_SIZES } from "./walk-names.js";
import { levelShift, type Reference, type Row, type Settings, type WalkModel } from "./walk-model.js";

/** One thing that stops an access. */
export interface Reason {
  /** Entries that decide, the highest level first. */
  readonly at: readonly Reference[];
  /** The bits that decide, in each of them. */
  readonly bits: bigint;
  /** A clause: what is the matter, with entry, level and bit, and the control bit that makes it matter. */
  readonly says: string;
  /** Bits P, RSVD and PK that it gives a #PF error code. */
  readonly error: number;
}

/** Bits that are set in `entry` and have to be zero, with the rule that says so. */
interface Reserved {
  readonly bits: bigint;
  readonly why: string;
}

const present = (broken: readonly (Reserved | false)[], entry: bigint): Reserved[] =>
  broken.flatMap((rule) =>
    rule && (entry & rule.bits) !== 0n ? [{ ...rule, bits: entry & rule.bits }] : [],
  );

/** Bits above MAXPHYADDR, of those that hold an address. */
function beyond(settings: Settings): Reserved {
  const bits = PTE_ADDRESS & ~((1n << BigInt(settings.maxphyaddr)) - 1n);
  return { bits, why: `above MAXPHYADDR ${settings.maxphyaddr}` };
}

/** Reserved bits set in an entry of the ordinary format (SDM vol. 3A, tables 4-14 to 4-20). */
function reservedOrdinary(settings: Settings, reference: Reference): Reserved[] {
  const { level, entry, leaf, dimension } = reference;
  const nxe = dimension === "nested" ? (settings.nested?.nxe ?? true) : settings.nxe;
  const name = level === 5 ? "PML5E" : "PML4E";
  const large = `below the address of a ${PAGE_SIZES[level]} page`;
  return present(
    [
      level >= 4 && { bits: PTE_PS, why: `PS, which no ${name} may have` },
      level === 3 &&
        leaf &&
        !settings.page1GB && { bits: PTE_PS, why: "PS, on a processor without 1-GByte pages" },
      level === 3 && leaf && { bits: PTE_1G_RESERVED, why: large },
      level === 2 && leaf && { bits: PTE_2M_RESERVED, why: large },
      beyond(settings),
      !nxe && {
        bits: PTE_XD,
        why: `XD, while ${dimension === "nested" ? "the host's " : ""}EFER.NXE is clear`,
      },
    ],
    entry,
  );
}

/** Reserved bits set in an EPT entry (SDM vol. 3C, 29.3.2). */
function reservedEpt(settings: Settings, { level, entry, leaf }: Reference): Reserved[] {
  const large = `below the address of a ${PAGE_SIZES[level]} page`;
  return present(
    [
      level >= 4 && {
        bits: EPT_PML4E_RESERVED,
        why: `reserved in an EPT ${level === 5 ? "PML5E" : "PML4E"}`,
      },
      level <= 3 &&
        level >= 2 &&
        !leaf && { bits: EPT_TABLE_RESERVED, why: "reserved in an entry that refers to a table" },
      level === 3 &&
        leaf &&
        !settings.page1GB && { bits: EPT_PS, why: "on a processor without 1-GByte EPT pages" },
      level === 3 && leaf && { bits: EPT_1G_RESERVED, why: large },
      level === 2 && leaf && { bits: EPT_2M_RESERVED, why: large },
      beyond(settings),
    ],
    entry,
  );
}

/** "the PDE (...) has reserved bits set: bit 51 (above MAXPHYADDR 40)" */
function reservedInWords(name: string, broken: readonly Reserved[]): Pick<Reason, "bits" | "says"> {
  const bits = broken.reduce((all, rule) => all | rule.bits, 0n);
  const list = listInWords(broken.map((rule) => `${bitsInWords(rule.bits)} (${rule.why})`));
  return { bits, says: `the ${name} has reserved bits set: ${list}` };
}

/** The first entry of a walk that ends it whatever the access, as every walk meets it; null if none does. */
function endOfOrdinary(settings: Settings, references: readonly Reference[], nested: boolean): Reason | null {
  for (const at of references) {
    const name = entryInWords(at, nested);
    if ((at.entry & PTE_P) === 0n)
      return { at: [at], bits: PTE_P, error: 0, says: `the ${name} is not present: P (bit 0) is clear` };
    const broken = reservedOrdinary(settings, at);
    if (broken.length === 0) continue;
    return { at: [at], error: PFERR_P | PFERR_RSVD, ...reservedInWords(name, broken) };
  }
  return null;
}

const clear = (references: readonly Reference[], bit: bigint): Reference[] =>
  references.filter(({ entry }) => (entry & bit) === 0n);
const set = (references: readonly Reference[], bit: bigint): Reference[] =>
  references.filter(({ entry }) => (entry & bit) !== 0n);

/** "in the PDE (level 2, ...) and the PTE (level 1, ...)" */
const within = (at: readonly Reference[], nested: boolean): string =>
  `in ${listInWords(at.map((reference) => `the ${entryInWords(reference, nested)}`))}`;

/** The protection key's say over a data access (SDM vol. 3A, 4.6.2); null if it allows it. */
function keyReason(s: Settings, leaf: Reference, userPage: boolean, nested: boolean): Reason | null {
  if (s.fetches || !(userPage ? s.pke : s.pks)) return null;
  const key = Number((leaf.entry >> PTE_KEY_SHIFT) & 15n);
  const [register, enable, value] = userPage ? ["PKRU", "CR4.PKE", s.pkru] : ["IA32_PKRS", "CR4.PKS", s.pkrs];
  const bit = (n: number): boolean => ((value >>> n) & 1) === 1;
  const about = `the protection key is ${key} (bits 62:59 of the ${entryInWords(leaf, nested)}), and with ${enable} set`;
  const reason = { at: [leaf], bits: 15n << PTE_KEY_SHIFT, error: PFERR_P | PFERR_PK };
  if (bit(2 * key))
    return {
      ...reason,
      says: `${about} AD${key} (bit ${2 * key}) of ${register} ${hex(value)} forbids data accesses`,
    };
  if (!s.writes || !bit(2 * key + 1) || !(s.user || s.wp)) return null;
  const wp = s.user ? "" : ", CR0.WP being set,";
  return {
    ...reason,
    says: `${about} WD${key} (bit ${2 * key + 1}) of ${register} ${hex(value)}${wp} forbids writes`,
  };
}

/** What forbids the access to the page that the guest's entries map (SDM vol. 3A, 4.6.1), in the order of the manual. */
function rightsReasons(s: Settings, guest: readonly Reference[], nested: boolean): Reason[] {
  const leaf = guest.at(-1)!;
  const reasons: Reason[] = [];
  const add = (at: readonly Reference[], bits: bigint, says: string): void => {
    reasons.push({ at, bits, says, error: PFERR_P });
  };
  const supervisor = clear(guest, PTE_US);
  const readOnly = clear(guest, PTE_RW);
  const noExecute = set(guest, PTE_XD);
  const userPage = supervisor.length === 0;
  const userEverywhere = `the page is a user page (U/S, bit 2, is set in every entry, down to the ${entryInWords(leaf, nested)})`;
  if (s.user && !userPage)
    add(
      supervisor,
      PTE_US,
      `the page is a supervisor page: U/S (bit 2) is clear ${within(supervisor, nested)}`,
    );
  if (!s.user && userPage && s.fetches && s.smep)
    add([leaf], PTE_US, `${userEverywhere}, where CR4.SMEP forbids the supervisor to fetch instructions`);
  if (!s.user && userPage && !s.fetches && s.smap && (s.implicit || !s.ac)) {
    const lift = s.implicit
      ? "forbids the supervisor to touch data, and RFLAGS.AC does not lift that for an implicit access"
      : "forbids the supervisor to touch data while RFLAGS.AC is clear";
    add([leaf], PTE_US, `${userEverywhere}, where CR4.SMAP ${lift}`);
  }
  if (s.writes && readOnly.length > 0 && (s.user || s.wp)) {
    const wp = s.user ? "" : ", and CR0.WP is set, so that this binds the supervisor too";
    add(readOnly, PTE_RW, `the page is read-only: R/W (bit 1) is clear ${within(readOnly, nested)}${wp}`);
  }
  if (s.fetches && s.nxe && noExecute.length > 0)
    add(noExecute, PTE_XD, `the page is not executable: XD (bit 63) is set ${within(noExecute, nested)}`);
  const key = keyReason(s, leaf, userPage, nested);
  return key ? [...reasons, key] : reasons;
}

/** True if the bits above those that paging of so many levels translates do not all equal its highest. */
export function isNonCanonical(levels: number, gva: bigint): boolean {
  const width = levels === 5 ? 57 : 48;
  return levels !== 0 && BigInt.asUintN(64, BigInt.asIntN(width, gva)) !== gva;
}

/** What the guest's tables say to the access: nothing if they allow it, or are not walked to the end. */
export function guestReasons({ settings, guest }: WalkModel): Reason[] {
  const nested = settings.nested !== null;
  const end = endOfOrdinary(settings, guest, nested);
  if (end) return [end];
  return guest.at(-1)?.leaf ? rightsReasons(settings, guest, nested) : [];
}

/** The #PF error code that the reasons give (SDM vol. 3A, 4.7). */
export function errorCodeOf(settings: Settings, reasons: readonly Reason[]): number {
  let code = reasons.reduce((bits, reason) => bits | reason.error, 0);
  if (settings.writes) code |= PFERR_WR;
  if (settings.user) code |= PFERR_US;
  if (settings.fetches && (settings.nxe || settings.smep)) code |= PFERR_ID;
  return code;
}

/** What the second dimension says to one of its walks. */
export interface NestedReasons {
  /** EPT misconfiguration, instead of a violation. */
  readonly misconfigured: boolean;
  readonly reasons: readonly Reason[];
  /** EPT: bits 5:0 of the exit qualification of a violation. NPT: the low half of EXITINFO1, a #PF error code. */
  readonly error: number;
}

const violation = (reasons: readonly Reason[], error: number): NestedReasons => ({
  misconfigured: false,
  reasons,
  error,
});

/** True for a user-mode linear address, as all are without paging: mode-based execute control asks for XU there. */
function isUserAddress({ guest }: WalkModel): boolean {
  return clear(guest, PTE_US).length === 0;
}

/** The rights that an access needs of EPT entries, as bits of an entry, each with its name. */
function eptNeeds(model: WalkModel, table: boolean, flags: boolean): readonly (readonly [bigint, string])[] {
  const { fetches, reads, writes, nested } = model.settings;
  const read = [EPT_R, "R (bit 0)"] as const;
  const write = [EPT_W, "W (bit 1)"] as const;
  if (table) return flags || nested?.keepsFlags ? [read, write] : [read];
  if (fetches) {
    const user = nested?.mbec && isUserAddress(model);
    return [user ? [EPT_XU, "XU (bit 10, execute for user-mode addresses)"] : [EPT_X, "X (bit 2)"]];
  }
  return [...(reads ? [read] : []), ...(writes ? [write] : [])];
}

/** What makes an EPT entry that is present a misconfiguration (SDM vol. 3C, 29.3.3.1); null if nothing does. */
function misconfiguration(settings: Settings, at: Reference): Pick<Reason, "bits" | "says"> | null {
  const { entry, leaf } = at;
  const name = entryInWords(at, true);
  if ((entry & (EPT_R | EPT_W)) === EPT_W) {
    const says = `the ${name} allows writes but not reads: W (bit 1) is set, R (bit 0) is clear`;
    return { bits: EPT_R | EPT_W, says };
  }
  if ((entry & EPT_R) === 0n && !settings.nested?.executeOnly) {
    const says = `the ${name} allows fetches but not reads: R (bit 0) is clear, on a processor without execute-only EPT`;
    return { bits: EPT_R, says };
  }
  const reserved = reservedEpt(settings, at);
  if (reserved.length > 0) return reservedInWords(name, reserved);
  const type = Number((entry & EPT_MEMTYPE) >> 3n);
  if (!leaf || (type !== 2 && type !== 3 && type !== 7)) return null;
  return { bits: EPT_MEMTYPE, says: `the ${name} has memory type ${type} (bits 5:3), which is reserved` };
}

/** What EPT says to a nested walk (SDM vol. 3C, 29.3.3): a violation, or a misconfiguration. */
function eptReasons(model: WalkModel, { level, nested }: Row, flags: boolean): NestedReasons {
  const { mbec } = model.settings.nested!;
  const needs = eptNeeds(model, level > 0, flags);
  // R, W and X of an entry and of a qualification are the same bits; XU is told of as a fetch.
  const tried = needs.reduce((bits, [bit]) => bits | Number(bit === EPT_XU ? EPT_X : bit), 0);
  const any = EPT_RWX | (mbec ? EPT_XU : 0n);
  let all = EPT_RWX;
  for (const at of nested) {
    if ((at.entry & any) === 0n) {
      const rights = mbec ? "R, W, X (bits 2:0) and XU (bit 10)" : "R, W and X (bits 2:0)";
      const says = `the ${entryInWords(at, true)} is not present: ${rights} are clear`;
      return violation([{ at: [at], bits: any, error: 0, says }], tried);
    }
    const wrong = misconfiguration(model.settings, at);
    if (wrong) return { misconfigured: true, reasons: [{ at: [at], error: 0, ...wrong }], error: 0 };
    all &= at.entry;
  }
  const allowed = Number(all) << EPT_VIOLATION_RIGHTS_SHIFT;
  if (!nested.at(-1)?.leaf) return violation([], tried);
  const reasons = needs.flatMap(([bits, name]): Reason[] => {
    const at = clear(nested, bits);
    if (at.length === 0) return [];
    const write = bits === EPT_W && level > 0 ? `, ${whyWrite(flags)}` : "";
    return [{ at, bits, error: 0, says: `${name} is clear ${within(at, true)}${write}` }];
  });
  return violation(reasons, tried | allowed);
}

/** Why the guest's tables have to be writable for the processor. */
function whyWrite(flags: boolean): string {
  if (flags) return "and the processor has a flag to set in the guest's entry";
  return "and with accessed and dirty flags for EPT (EPTP bit 6) each access to a guest's table counts as a write";
}

/** What the nested tables of AMD say: ordinary entries, each access one of user mode (APM vol. 2, 15.25.6). */
function nptReasons(settings: Settings, { level, nested }: Row): NestedReasons {
  const table = level > 0;
  const as: Settings = {
    ...settings,
    user: true,
    // For the accessed and dirty flags that it may have to set there, whether it does or not.
    writes: table || settings.writes,
    fetches: !table && settings.fetches,
    nxe: settings.nested?.nxe ?? true,
    smep: false,
    pke: false,
    pks: false,
  };
  const end = endOfOrdinary(as, nested, true);
  const counts = table
    ? "each access to a guest's table counts as a write of user mode"
    : "each access counts as one of user mode";
  const rights = (): Reason[] =>
    rightsReasons(as, nested, true).map((reason) => ({ ...reason, says: `${reason.says}, where ${counts}` }));
  const reasons = end ? [end] : nested.at(-1)?.leaf ? rights() : [];
  return { misconfigured: false, reasons, error: errorCodeOf(as, reasons) };
}

/**
 * What the nested tables say to the nested walk of `row`; with `flags`, to the write that sets a flag in the guest's
 * entry there.
 */
export function nestedReasons(model: WalkModel, row: Row, flags = false): NestedReasons {
  const { settings } = model;
  if (settings.nested === null) return violation([], 0);
  const { levels, format } = settings.nested;
  const found = format === "ept" ? eptReasons(model, row, flags) : nptReasons(settings, row);
  const top = levelShift(levels + 1);
  if (row.address >> BigInt(top) !== 0n) {
    const says = `${levels} levels of nested tables translate no bits above bit ${top - 1}`;
    const reasons = [{ at: [], bits: 0n, error: 0, says }];
    return { ...found, reasons };
  }
  return found;
}

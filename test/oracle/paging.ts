// An oracle for 4-level and 5-level paging, written from the text of the Intel SDM (vol. 3A, ch. 4) and without a look
// at the core: sentences of the manual as predicates, BigInt throughout, nothing clever. Speed is no concern here.

export interface Control {
  wp: boolean;
  smep: boolean;
  smap: boolean;
  pke: boolean;
  pks: boolean;
  nxe: boolean;
  ac: boolean;
  cpl: 0 | 3;
  la57: boolean;
  pkru: number;
  pkrs: number;
  /** MAXPHYADDR. */
  width: number;
  page1G: boolean;
}

export type AccessName =
  "read" | "write" | "fetch" | "modify" | "implicit-read" | "implicit-write" | "stack-read" | "stack-write";

/** What the entries together say of a linear address (4.6.1). */
export interface Rights {
  user: boolean;
  writable: boolean;
  executeDisable: boolean;
}

/** A translation, as a processor may keep it (4.10.2.2). */
export interface Translated {
  kind: "ok";
  pa: bigint;
  /** log2 of the size of the page. */
  shift: number;
  /** Accessed and dirty flags that this access sets, by the address of their entry. */
  set: Map<bigint, bigint>;
  rights: Rights;
  key: number;
  global: boolean;
  /** The dirty flag is set when the access has been made. */
  dirty: boolean;
}

export type Verdict =
  | Translated
  /** `may`: accessed flags that a processor may have set on the way. */
  | { kind: "page-fault"; error: number; may: Map<bigint, bigint> }
  | { kind: "general-protection" }
  | { kind: "stack-fault" };

export const bit = (value: bigint, index: number): boolean => ((value >> BigInt(index)) & 1n) === 1n;
export const field = (value: bigint, high: number, low: number): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

/** An access as 4.6 sees it. */
export function classify(access: AccessName, control: Control) {
  const implicit = access.startsWith("implicit");
  const writes = access === "write" || access === "modify" || access.endsWith("-write");
  const fetches = access === "fetch";
  return { implicit, writes, fetches, user: control.cpl === 3 && !implicit };
}

/** 3.3.7.1: bits 63:47 (63:56 with 57-bit addresses) are all equal. */
function isCanonical(address: bigint, control: Control): boolean {
  const low = control.la57 ? 56 : 47;
  const top = field(address, 63, low);
  return top === 0n || top === (1n << BigInt(64 - low)) - 1n;
}

/** Tables 4-14 to 4-20: which bits of a present entry must be zero. */
function hasReservedBit(entry: bigint, level: number, control: Control): boolean {
  for (let i = control.width; i <= 51; i++) if (bit(entry, i)) return true;
  if (!control.nxe && bit(entry, 63)) return true;
  const large = bit(entry, 7);
  if (level >= 4) return large;
  if (level === 3 && large) return !control.page1G || field(entry, 29, 13) !== 0n;
  if (level === 2 && large) return field(entry, 20, 13) !== 0n;
  return false;
}

/** 4.6.2: does the protection key of the address forbid this data access? */
function keyForbids(
  key: number,
  userAddress: boolean,
  access: ReturnType<typeof classify>,
  control: Control,
): boolean {
  if (access.fetches) return false;
  if (userAddress ? !control.pke : !control.pks) return false;
  const register = userAddress ? control.pkru : control.pkrs;
  if ((register >>> (2 * key)) & 1) return true;
  const writeDisable = ((register >>> (2 * key + 1)) & 1) === 1;
  return writeDisable && access.writes && (access.user || control.wp);
}

/** 4.6.1: do the access rights of the entries forbid the access? */
function rightsForbid(rights: Rights, access: ReturnType<typeof classify>, control: Control): boolean {
  const { user, writable } = rights;
  const executable = !control.nxe || !rights.executeDisable;
  if (access.user) {
    if (!user) return true;
    if (access.writes && !writable) return true;
    return access.fetches && !executable;
  }
  if (access.fetches) return !executable || (user && control.smep);
  if (user && control.smap && (access.implicit || !control.ac)) return true;
  return access.writes && control.wp && !writable;
}

/** 4.7: the error code. */
function errorCode(
  causes: { present: boolean; reserved?: boolean; key?: boolean },
  access: ReturnType<typeof classify>,
  control: Control,
): number {
  let error = 0;
  if (causes.present) error |= 1;
  if (access.writes) error |= 2;
  if (access.user) error |= 4;
  if (causes.reserved) error |= 8;
  if (access.fetches && (control.nxe || control.smep)) error |= 16;
  if (causes.key) error |= 32;
  return error;
}

/** Translates `address`; `read` gives the 8 bytes at a physical address, for the table of a level. */
export function translate(
  control: Control,
  cr3: bigint,
  address: bigint,
  accessName: AccessName,
  read: (pa: bigint, level: number) => bigint,
): Verdict {
  if (!isCanonical(address, control)) {
    return { kind: accessName.startsWith("stack") ? "stack-fault" : "general-protection" };
  }
  const access = classify(accessName, control);
  const places: bigint[] = [];
  const entries: bigint[] = [];
  const fault = (causes: Parameters<typeof errorCode>[0]): Verdict => ({
    kind: "page-fault",
    error: errorCode(causes, access, control),
    may: new Map(places.map((place) => [place, 0x20n])),
  });
  let table = field(cr3, 51, 12) << 12n;
  let level = control.la57 ? 5 : 4;
  for (;;) {
    const shift = 12 + 9 * (level - 1);
    const place = table + 8n * field(address, shift + 8, shift);
    const entry = read(place, level);
    if (!bit(entry, 0)) return fault({ present: false });
    if (hasReservedBit(entry, level, control)) return fault({ present: true, reserved: true });
    places.push(place);
    entries.push(entry);
    if (level === 1 || (level <= 3 && bit(entry, 7))) break;
    table = field(entry, 51, 12) << 12n;
    level--;
  }
  const leaf = entries[entries.length - 1]!;
  const shift = 12 + 9 * (level - 1);
  const rights: Rights = {
    user: entries.every((e) => bit(e, 2)),
    writable: entries.every((e) => bit(e, 1)),
    executeDisable: entries.some((e) => bit(e, 63)),
  };
  const key = Number(field(leaf, 62, 59));
  const closed = keyForbids(key, rights.user, access, control);
  if (closed || rightsForbid(rights, access, control)) return fault({ present: true, key: closed });
  const set = new Map<bigint, bigint>();
  places.forEach((place, i) => {
    const wanted = 0x20n | (access.writes && i === places.length - 1 ? 0x40n : 0n);
    set.set(place, (set.get(place) ?? 0n) | (wanted & ~entries[i]!));
  });
  const page = field(leaf, 51, shift) << BigInt(shift);
  const pa = page | field(address, shift - 1, 0);
  return {
    kind: "ok",
    pa,
    shift,
    set,
    rights,
    key,
    global: bit(leaf, 8),
    dirty: access.writes || bit(leaf, 6),
  };
}

/** May an access be made by a translation that the processor has kept? A write needs one that is dirty (4.8). */
export function allows(kept: Translated, accessName: AccessName, control: Control): boolean {
  const access = classify(accessName, control);
  if (access.writes && !kept.dirty) return false;
  return (
    !keyForbids(kept.key, kept.rights.user, access, control) && !rightsForbid(kept.rights, access, control)
  );
}

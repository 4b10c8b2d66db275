// An oracle for scans, written from the manuals and without a look at the core: what a root maps, by recursion over
// tables in BigInt, the second dimension walked anew for each page. Nothing is kept, nothing is clever.

export interface ScanWorld {
  /** The word at a physical address; null if the memory does not have its page. */
  readonly read: (pa: bigint) => bigint | null;
  readonly cr3: bigint;
  readonly levels: 4 | 5;
  readonly nxe: boolean;
  /** MAXPHYADDR. */
  readonly width: number;
  readonly page1G: boolean;
  readonly nested:
    | null
    | { readonly kind: "ept"; readonly root: bigint; readonly flags: boolean }
    | { readonly kind: "npt"; readonly root: bigint; readonly levels: 4 | 5; readonly nxe: boolean };
}

export interface OracleRow {
  gva: bigint;
  gpa: bigint;
  hpa: bigint | null;
  length: bigint;
  entry: bigint;
  shift: number;
  /** Letters of what holds: w, u, x; f nested fault; g gap; m nested table missing. */
  marks: string;
  nestedShift: number;
  /** R, W, X of the nested levels. */
  nestedRights: string;
}

const bit = (value: bigint, index: number): boolean => ((value >> BigInt(index)) & 1n) === 1n;
const anyBit = (value: bigint, high: number, low: number): boolean => {
  for (let i = low; i <= high; i++) if (bit(value, i)) return true;
  return false;
};
const tableOf = (entry: bigint): bigint => entry & 0x000f_ffff_ffff_f000n;
const spanOf = (level: number): bigint => 1n << BigInt(12 + 9 * (level - 1));

/** Ordinary format, SDM 4.5 tables 4-14 to 4-20, APM 5.3: present, and no bit set that must be zero. */
function ordinary(
  entry: bigint,
  level: number,
  world: ScanWorld,
  nxe: boolean,
): "absent" | "invalid" | "table" | "page" {
  if (!bit(entry, 0)) return "absent";
  if (world.width < 52 && anyBit(entry, 51, world.width)) return "invalid";
  if (!nxe && bit(entry, 63)) return "invalid";
  const large = bit(entry, 7);
  if (level >= 4) return large ? "invalid" : "table";
  if (level === 1) return "page";
  if (!large) return "table";
  if (level === 3) return !world.page1G || anyBit(entry, 29, 13) ? "invalid" : "page";
  return anyBit(entry, 20, 13) ? "invalid" : "page";
}

/** EPT format, SDM 29.3.2 and 29.3.3.1. */
function extended(entry: bigint, level: number, world: ScanWorld): "absent" | "invalid" | "table" | "page" {
  const [r, w, x] = [bit(entry, 0), bit(entry, 1), bit(entry, 2)];
  if (!r && !w && !x) return "absent";
  if (w && !r) return "invalid";
  if (world.width < 52 && anyBit(entry, 51, world.width)) return "invalid";
  if (level >= 4) return anyBit(entry, 7, 3) ? "invalid" : "table";
  if (level > 1 && !bit(entry, 7)) return anyBit(entry, 6, 3) ? "invalid" : "table";
  if (level === 3 && (!world.page1G || anyBit(entry, 29, 12))) return "invalid";
  if (level === 2 && anyBit(entry, 20, 12)) return "invalid";
  return [2n, 3n, 7n].includes((entry >> 3n) & 7n) ? "invalid" : "page";
}

type Nested =
  | { readonly kind: "ok"; readonly hpa: bigint; readonly shift: number; readonly rights: string }
  | { readonly kind: "fault" | "missing"; readonly shift: number };

/** The second dimension at `gpa`; `need`: rights without which the access is a fault. */
function nestedWalk(world: ScanWorld, gpa: bigint, need: string): Nested {
  const { nested } = world;
  if (!nested) return { kind: "ok", hpa: gpa, shift: 0, rights: "" };
  const levels = nested.kind === "ept" ? 4 : nested.levels;
  const letters = (entry: bigint): string =>
    nested.kind === "ept"
      ? `${bit(entry, 0) ? "r" : ""}${bit(entry, 1) ? "w" : ""}${bit(entry, 2) ? "x" : ""}`
      : `${bit(entry, 2) ? "r" : ""}${bit(entry, 1) ? "w" : ""}${bit(entry, 63) ? "" : "x"}`;
  if (gpa >> BigInt(12 + 9 * levels)) return { kind: "fault", shift: 52 };
  let rights = "rwx";
  let table = nested.root;
  for (let level = levels, above = 52; ; level--) {
    const shift = 12 + 9 * (level - 1);
    const entry = world.read(table + 8n * ((gpa >> BigInt(shift)) & 0x1ffn));
    if (entry === null) return { kind: "missing", shift: above };
    const found =
      nested.kind === "ept" ? extended(entry, level, world) : ordinary(entry, level, world, nested.nxe);
    if (found === "absent" || found === "invalid") return { kind: "fault", shift };
    rights = [...rights].filter((letter) => letters(entry).includes(letter)).join("");
    if (found === "page") {
      const wanted = nested.kind === "npt" ? `r${need}` : need;
      if ([...wanted].some((letter) => !rights.includes(letter))) return { kind: "fault", shift };
      const span = 1n << BigInt(shift);
      return { kind: "ok", hpa: (tableOf(entry) & ~(span - 1n)) | (gpa & (span - 1n)), shift, rights };
    }
    table = tableOf(entry);
    above = shift;
  }
}

/** The words of one table of the guest, or why it cannot be read. */
function readTable(world: ScanWorld, gpa: bigint): bigint[] | string {
  const { nested } = world;
  const need = nested?.kind === "npt" ? "w" : nested?.flags ? "rw" : "r";
  const at = nestedWalk(world, gpa, need);
  if (at.kind !== "ok") return at.kind === "fault" ? "fg" : "gm";
  const words: bigint[] = [];
  for (let i = 0; i < 512; i++) {
    const word = world.read(at.hpa + BigInt(8 * i));
    if (word === null) return "g";
    words.push(word);
  }
  return words;
}

interface Rights {
  w: boolean;
  u: boolean;
  x: boolean;
}
const lettersOf = ({ w, u, x }: Rights): string => `${w ? "w" : ""}${u ? "u" : ""}${x ? "x" : ""}`;

/** Every row of a scan that folds nothing. */
export function scanOracle(world: ScanWorld): OracleRow[] {
  const rows: OracleRow[] = [];
  const top = world.levels;
  const gap = (
    gva: bigint,
    length: bigint,
    table: bigint,
    entry: bigint,
    rights: Rights,
    why: string,
  ): void => {
    const shift = length.toString(2).length - 1;
    rows.push({
      gva,
      gpa: table,
      hpa: null,
      length,
      entry,
      shift,
      marks: lettersOf(rights) + why,
      nestedShift: 0,
      nestedRights: "",
    });
  };
  const leaf = (gva: bigint, entry: bigint, level: number, rights: Rights): void => {
    const span = spanOf(level);
    const page = tableOf(entry) & ~(span - 1n);
    const shift = 12 + 9 * (level - 1);
    for (let offset = 0n; offset < span;) {
      const gpa = page + offset;
      const nested = nestedWalk(world, gpa, "");
      const piece = 1n << BigInt(nested.shift);
      const rest = world.nested ? piece - (gpa & (piece - 1n)) : span;
      const length = rest < span - offset ? rest : span - offset;
      const ok = nested.kind === "ok";
      const marks = lettersOf(rights) + (ok ? "" : nested.kind === "fault" ? "f" : "fm");
      rows.push({
        gva: gva + offset,
        gpa,
        hpa: ok ? nested.hpa : null,
        length,
        entry,
        shift,
        marks,
        nestedShift: ok ? nested.shift : 0,
        nestedRights: ok ? nested.rights : "",
      });
      offset += length;
    }
  };
  const visit = (words: bigint[], level: number, base: bigint, above: Rights): void => {
    words.forEach((entry, index) => {
      const found = ordinary(entry, level, world, world.nxe);
      if (found === "absent" || found === "invalid") return;
      const rights = {
        w: above.w && bit(entry, 1),
        u: above.u && bit(entry, 2),
        x: above.x && !bit(entry, 63),
      };
      let gva = base + BigInt(index) * spanOf(level);
      if (level === top) gva = BigInt.asUintN(64, BigInt.asIntN(12 + 9 * top, gva));
      if (found === "page") return leaf(gva, entry, level, rights);
      const below = readTable(world, tableOf(entry));
      if (typeof below === "string") gap(gva, spanOf(level), tableOf(entry), entry, rights, below);
      else visit(below, level - 1, gva, rights);
    });
  };
  const root = readTable(world, tableOf(world.cr3));
  const all = { w: true, u: true, x: true };
  if (typeof root !== "string") visit(root, top, 0n, all);
  else {
    const half = 1n << BigInt(11 + 9 * top);
    gap(0n, half, tableOf(world.cr3), 0n, all, root);
    gap((1n << 64n) - half, half, tableOf(world.cr3), 0n, all, root);
  }
  return rows;
}

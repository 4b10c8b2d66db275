// Random tables in few frames, so that they meet, overlap and refer to themselves, in one dimension and in two: a scan
// against the oracle, and against the walk of every page that it tells of and of many that it does not.
import fc from "fast-check";
import { expect, test } from "vitest";
import { MappingBits, MappingColumn, MAPPING_WORDS } from "../../src/walker/mapping.js";
import { PageWalker, type ScanOptions } from "../../src/walker/page-walker.js";
import { type NestedPaging } from "../../src/machine/nested.js";
import { scanOracle, type OracleRow, type ScanWorld } from "../oracle/scan.js";
import { Pages } from "../unit/walker-fixture.js";

const NONE = (1n << 64n) - 1n;
const FRAMES = 10;
/** Guest-physical frames of the guest's tables; the nested ones lie behind them in host-physical memory. */
const ROOT = 0x1000n;
const NESTED_ROOT = 0x10_0000n;

function rowsOf(walker: PageWalker, options?: ScanOptions): OracleRow[] {
  const rows: OracleRow[] = [];
  for (const { count, words } of walker.scan(options)) {
    for (let i = 0; i < count; i++) {
      const word = (column: number): bigint => words[i * MAPPING_WORDS + column]!;
      const effective = Number(word(MappingColumn.effective));
      const has = (mask: number, letter: string): string => ((effective & mask) !== 0 ? letter : "");
      const rights = effective >>> MappingBits.nestedRights;
      const hpa = word(MappingColumn.hpa);
      rows.push({
        gva: word(MappingColumn.gva),
        gpa: word(MappingColumn.gpa),
        hpa: hpa === NONE ? null : hpa,
        length: word(MappingColumn.length),
        entry: word(MappingColumn.entry),
        shift: (effective >>> MappingBits.pageShift) & 0xff,
        marks:
          has(MappingBits.writable, "w") +
          has(MappingBits.user, "u") +
          (effective & MappingBits.executeDisable ? "" : "x") +
          has(MappingBits.nestedFault, "f") +
          has(MappingBits.gap, "g") +
          has(MappingBits.nestedGap, "m"),
        nestedShift: (effective >>> MappingBits.nestedShift) & 0xff,
        nestedRights: `${rights & 1 ? "r" : ""}${rights & 2 ? "w" : ""}${rights & 4 ? "x" : ""}`,
      });
    }
  }
  return rows;
}

/** Rows that fold as `fold` says, by its definition. */
function folded(rows: readonly OracleRow[], fold: "physical" | "rights"): OracleRow[] {
  const result: OracleRow[] = [];
  const flags = (row: OracleRow): bigint =>
    row.entry & ~(0x000f_ffff_ffff_f000n & ~((1n << BigInt(row.shift)) - 1n));
  for (const row of rows) {
    const last = result.at(-1);
    const sameRights = last && last.marks === row.marks && last.nestedRights === row.nestedRights;
    if (!sameRights || BigInt.asUintN(64, last.gva + last.length) !== row.gva) {
      result.push({ ...row });
      continue;
    }
    const goesOn =
      !row.marks.includes("g") &&
      last.shift === row.shift &&
      last.nestedShift === row.nestedShift &&
      flags(last) === flags(row) &&
      last.gpa + last.length === row.gpa &&
      (last.hpa === null ? row.hpa === null : last.hpa + last.length === row.hpa);
    if (fold === "rights" || goesOn) last.length += row.length;
    else result.push({ ...row });
  }
  return result;
}

/** One entry: where in its table (few places, so that they meet), and what. */
const entry = fc.record({
  frame: fc.nat(FRAMES - 1),
  index: fc.constantFrom(0, 1, 2, 3, 255, 256, 300, 511),
  target: fc.nat(FRAMES + 2),
  low: fc.nat(0xff),
  high: fc.constantFrom(0n, 0n, 0n, 1n << 63n, 1n << 59n, 1n << 45n, 1n << 51n),
  kind: fc.nat(9),
  run: fc.integer({ min: 1, max: 3 }),
});
type Entry = typeof entry extends fc.Arbitrary<infer T> ? T : never;

function put(
  memory: Pages,
  base: bigint,
  format: "ordinary" | "ept",
  { frame, index, target, low, high, kind, run }: Entry,
): void {
  for (let i = 0; i < run && index + i < 512; i++) {
    let bits = BigInt(low);
    // Most entries are good ones: present, with rights, not large.
    if (kind < 8) bits = format === "ept" ? 0x37n & ~(kind < 2 ? 2n : 0n) : 0x27n & ~(kind < 2 ? 2n : 0n);
    if (kind < 8 && format === "ept" && (low & 3) !== 0) bits &= ~0x30n;
    if (kind === 8) bits |= 0x80n;
    const address = kind === 8 ? BigInt(target % 3) << 30n : base + BigInt((target + i) * 0x1000);
    memory.store(
      base + BigInt(frame * 0x1000 + (index + i) * 8),
      address | bits | (kind < 6 ? high & (1n << 63n) : high),
    );
  }
}

const worlds = fc.record({
  levels: fc.constantFrom<4 | 5>(4, 5),
  nxe: fc.boolean(),
  width: fc.constantFrom(40, 52),
  page1G: fc.boolean(),
  nested: fc.constantFrom("none", "ept", "ept-flags", "npt", "npt5"),
  guest: fc.array(entry, { minLength: 15, maxLength: 40 }),
  tables: fc.array(entry, { minLength: 10, maxLength: 60 }),
  dropped: fc.array(fc.nat(FRAMES - 1), { maxLength: 3 }),
  from: fc.bigInt({ min: 0n, max: NONE }),
  spots: fc.array(fc.bigInt({ min: 0n, max: NONE }), { minLength: 20, maxLength: 20 }),
});

interface World {
  readonly walker: PageWalker;
  readonly world: ScanWorld;
  readonly memory: Pages;
}

function build(choice: typeof worlds extends fc.Arbitrary<infer T> ? T : never): World {
  const memory = new Pages();
  for (let i = 0; i < FRAMES; i++) memory.page(ROOT + BigInt(i * 0x1000));
  for (const one of choice.guest) put(memory, ROOT, "ordinary", one);
  const { nested: name, levels, nxe, width, page1G } = choice;
  const format = name.startsWith("ept") ? "ept" : "ordinary";
  if (name !== "none") {
    for (let i = 0; i < FRAMES; i++) memory.page(NESTED_ROOT + BigInt(i * 0x1000));
    for (const one of choice.tables) put(memory, NESTED_ROOT, format, one);
    // The tables of the guest are where the guest says, most of them.
    const link = format === "ept" ? 7n : 0x27n;
    const leaf = format === "ept" ? 0x37n : 0x27n;
    for (let i = 0; i < FRAMES - 2; i++) {
      const gpa = ROOT + BigInt(i * 0x1000);
      let next = NESTED_ROOT + 0x40_0000n;
      const made = { level: 1, levels: name === "npt5" ? 5 : 4, link, next: () => (next += 0x1000n) };
      memory.map(NESTED_ROOT, gpa, gpa | leaf, made);
    }
  }
  for (const frame of choice.dropped) memory.drop((frame % 2 ? NESTED_ROOT : ROOT) + BigInt(frame * 0x1000));
  const paging: NestedPaging | null =
    name === "none"
      ? null
      : format === "ept"
        ? { kind: "ept", eptp: NESTED_ROOT | 6n | (3n << 3n) | (name === "ept-flags" ? 1n << 6n : 0n) }
        : { kind: "npt", ncr3: NESTED_ROOT, levels: name === "npt5" ? 5 : 4, nxe: true };
  const nested: ScanWorld["nested"] =
    name === "none"
      ? null
      : format === "ept"
        ? { kind: "ept", root: NESTED_ROOT, flags: name === "ept-flags" }
        : { kind: "npt", root: NESTED_ROOT, levels: name === "npt5" ? 5 : 4, nxe: true };
  const walker = PageWalker.create(
    memory,
    {
      cr3: ROOT,
      cr4: 0xa0n | (levels === 5 ? 1n << 12n : 0n),
      efer: 0x100n | (nxe ? 0x800n : 0n),
      maxphyaddr: width,
      page1GB: page1G,
      nested: paging,
    },
    { windows: 256 },
  );
  const read = (pa: bigint): bigint | null => (memory.pages.has(Number(pa >> 12n)) ? memory.load(pa) : null);
  return { walker, memory, world: { read, cr3: ROOT, levels, nxe, width, page1G, nested } };
}

/** A tree that a test can enumerate twice: tables that refer to themselves can have millions of leaves. */
const ROW_MAX = 4_000;

test("a scan tells what the oracle tells, however it is folded, limited or begun", () => {
  let rowCount = 0;
  let gaps = 0;
  let nestedRows = 0;
  fc.assert(
    fc.property(worlds, (choice) => {
      const { walker, world } = build(choice);
      const rows = rowsOf(walker, { maxRows: ROW_MAX });
      if (rows.length === ROW_MAX) return;
      rowCount += rows.length;
      gaps += rows.filter(({ marks }) => /[gf]/.test(marks)).length;
      if (world.nested) nestedRows += rows.length;
      expect(rows).toEqual(scanOracle(world));
      expect(rowsOf(walker, { fold: "physical" })).toEqual(folded(rows, "physical"));
      expect(rowsOf(walker, { fold: "rights" })).toEqual(folded(rows, "rights"));
      // Begun somewhere: the same rows from there on, the first one cut.
      const some = rows[Number(choice.from % BigInt(rows.length || 1))];
      const from = some ? BigInt.asUintN(64, some.gva + 0x1000n) : choice.from;
      const rest = rowsOf(walker, { from });
      const expected = rows.filter(({ gva, length }) => BigInt.asUintN(64, gva + length - 1n) >= from);
      expect(rest.length).toBe(expected.length);
      expect(rest.slice(1)).toEqual(expected.slice(1));
      const first = expected[0];
      if (first && first.gva < from) {
        expect(rest[0]!.gva).toBe(from);
        expect(rest[0]!.length).toBe(first.gva + first.length - from);
      }
      walker.close();
    }),
    { numRuns: 400 },
  );
  // The generator makes what the test is about.
  expect(rowCount).toBeGreaterThan(5_000);
  expect(gaps).toBeGreaterThan(100);
  expect(nestedRows).toBeGreaterThan(1_000);
});

test("walks agree with the rows of a scan, where it has one and where it has none", () => {
  let translated = 0;
  let refused = 0;
  fc.assert(
    fc.property(worlds, (choice) => {
      const { walker } = build(choice);
      const rows = rowsOf(walker, { maxRows: 300 });
      const reached = rows.length === 300 ? rows.at(-1)!.gva : NONE;
      const inside = rows.flatMap(({ gva, length }) => [gva, BigInt.asUintN(64, gva + length - 1n)]);
      const near = inside.flatMap((gva) => [BigInt.asUintN(64, gva - 1n), BigInt.asUintN(64, gva + 1n)]);
      const all = BigUint64Array.from([...choice.spots, ...inside, ...near].filter((gva) => gva <= reached));
      const results = new BigUint64Array(all.length);
      const count = walker.translateMany(all, results);
      const find = (gva: bigint): OracleRow | undefined =>
        rows.find((row) => gva >= row.gva && gva - row.gva < row.length);
      let ok = 0;
      const wrong: string[] = [];
      for (const [i, gva] of all.entries()) {
        const row = find(gva);
        const mapped = row && row.hpa !== null ? row.hpa + (gva - row.gva) : null;
        const found = results[i]! >> 63n === 0n ? results[i]! : null;
        if (found !== null) ok++;
        if (found !== mapped) wrong.push(`batch 0x${gva.toString(16)}: ${found}, the scan says ${mapped}`);
        // The loop form, for the least demanding accesses. It may refuse both where the scan has a page: execute-only
        // below a page with XD, or nested tables that allow neither.
        let walked = walker.walk(gva, { access: "read" }).result;
        if (walked.kind !== "ok") walked = walker.walk(gva, { access: "fetch" }).result;
        const outOfReach = row?.nestedRights === "" ? false : !row?.nestedRights.includes("r");
        const hpa = walked.kind === "ok" ? walked.hpa : null;
        if (hpa !== mapped && !(hpa === null && outOfReach))
          wrong.push(`walk 0x${gva.toString(16)}: ${hpa}, the scan says ${mapped}`);
      }
      expect(wrong).toEqual([]);
      expect(count).toBe(ok);
      translated += ok;
      refused += all.length - ok;
      walker.close();
    }),
    { numRuns: 60 },
  );
  expect(translated).toBeGreaterThan(200);
  expect(refused).toBeGreaterThan(1_000);
});

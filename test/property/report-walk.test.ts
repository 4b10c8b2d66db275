// Walks of tables damaged at random, in words and as a page: every entry that was read is drawn, in its order, the page is
// well-formed, and whatever the outcome the words account for it.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  accumulatedRights,
  explainWalk,
  walkPage,
  type WalkAccess,
  type WalkContext,
} from "../../src/report/index.js";
import { modelOf } from "../../src/report/walk-model.js";
import { elementsOf } from "../markup.js";
import { NestedGuest, registers, Tables, walked, Words } from "../walked.js";

const { CR0_PE, CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, CR4_PKE, CR4_PKS, CR4_SMAP, CR4_SMEP } = layout;
const { PTE_P, PTE_RW, PTE_US } = layout;
const USER_RW = PTE_P | PTE_RW | PTE_US | layout.PTE_A | layout.PTE_D;
const GPA = 0x1_4ae0_0000n;
const HPA = 0x33_4560_0000n;

/** Bits that an entry of either format may have wrong. */
const BITS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 21, 40, 51, 59, 62, 63].map((bit) => 1n << BigInt(bit));

/** A bit of one entry to be turned over: of the guest's (`row` 0), or of the nested walk for that row. */
const damage = fc.record({
  level: fc.integer({ min: 1, max: 5 }),
  row: fc.integer({ min: 0, max: 5 }),
  bit: fc.constantFrom(...BITS),
});

const situation = fc.record({
  kind: fc.constantFrom("flat", "ept", "npt"),
  levels: fc.constantFrom<4 | 5>(4, 5),
  gva: fc.oneof(
    { weight: 5, arbitrary: fc.bigInt(0n, (1n << 47n) - 1n) },
    { weight: 5, arbitrary: fc.bigInt(0xffff_8000_0000_0000n, 0xffff_ffff_ffff_ffffn) },
    { weight: 1, arbitrary: fc.bigInt(0n, (1n << 64n) - 1n) },
  ),
  leaf: fc.integer({ min: 1, max: 3 }),
  damages: fc.array(damage, { maxLength: 3 }),
  missing: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: damage }),
  access: fc.constantFrom<WalkAccess>("read", "write", "fetch", "modify", "implicit-read", "stack-write"),
  cpl: fc.constantFrom(0, 3),
  controls: fc.subarray([CR4_SMEP, CR4_SMAP, CR4_PKE, CR4_PKS]),
  wp: fc.boolean(),
  nxe: fc.boolean(),
  ac: fc.boolean(),
  keys: fc.bigInt(0n, 0xffff_ffffn),
  ad: fc.boolean(),
  mbec: fc.boolean(),
  page1GB: fc.boolean(),
});
type Situation = typeof situation extends fc.Arbitrary<infer T> ? T : never;

interface Made {
  words: Words;
  guest: Tables;
  nested: Tables | null;
  context: WalkContext;
}

function make(s: Situation): Made {
  const { gva, leaf } = s;
  const large = leaf > 1 ? layout.PTE_PS : 0n;
  const below = s.kind === "ept" ? new NestedGuest({ levels: s.levels }) : null;
  const words = below?.words ?? new Words();
  let page = 0n;
  const upper = USER_RW;
  const guest = below?.guest ?? new Tables(words, { levels: s.levels, upper, page: () => (page += 0x1000n) });
  guest.map(gva, (leaf === 3 ? 0x1_4000_0000n : GPA) | USER_RW | large, leaf);
  let nested: Tables | null = null;
  if (below) {
    nested = below.ept;
    below.mapNested(
      (GPA & ~((1n << BigInt(3 + 9 * leaf)) - 1n)) | (gva & ((1n << BigInt(3 + 9 * leaf)) - 1n)),
      HPA,
    );
  } else if (s.kind === "npt") {
    let host = 0x800_0000n;
    nested = new Tables(words, { levels: 4, upper, page: () => (host += 0x1000n) });
    nested.map(0n, USER_RW | layout.PTE_PS, 3);
    nested.map(0x1_4000_0000n, 0x1_4000_0000n | USER_RW | layout.PTE_PS, 3);
  }
  const eptp = (nested?.root ?? 0n) | layout.EPTP_WB_4LEVEL | (s.ad ? layout.EPTP_AD : 0n);
  const roots = {
    flat: null,
    ept: { kind: "ept", eptp, modeBasedExecute: s.mbec },
    npt: { kind: "npt", ncr3: nested?.root ?? 0n, nxe: s.nxe },
  } as const;
  const context: WalkContext = {
    gva,
    access: s.access,
    registers: registers({
      cr3: guest.root,
      cr0: CR0_PE | CR0_PG | (s.wp ? CR0_WP : 0n),
      cr4: s.controls.reduce((all, bit) => all | bit, CR4_PAE | (s.levels === 5 ? CR4_LA57 : 0n)),
      efer: layout.EFER_LME | layout.EFER_LMA | (s.nxe ? layout.EFER_NXE : 0n),
      rflags: s.ac ? layout.RFLAGS_AC : 0n,
      pkru: s.keys,
      pkrs: s.keys,
      cpl: s.cpl,
      page1GB: s.page1GB,
      nested: roots[s.kind as keyof typeof roots],
    }),
  };
  return { words, guest, nested, context };
}

/** Where the entry lies that a damage is for; the tables have it already, or will not be reached there. */
function placeOf(
  { guest, nested, context, words }: Made,
  { row, level }: { row: number; level: number },
): bigint | null {
  const top = (context.registers.cr4! & CR4_LA57) !== 0n ? 5 : 4;
  const existing = (
    tables: Tables,
    address: bigint,
    at: (pa: bigint) => bigint,
    levels: number,
  ): bigint | null => {
    let table = tables.root;
    for (let l = levels; ; l--) {
      const entry = at(table + (((address >> BigInt(3 + 9 * l)) & 0x1ffn) << 3n));
      if (l === level || l === 1) return l === level ? entry : null;
      const value = words.get(entry);
      if ((value & 7n) === 0n || (l <= 3 && (value & layout.PTE_PS) !== 0n)) return null;
      table = value & layout.PTE_ADDRESS;
    }
  };
  const host = (gpa: bigint): bigint => {
    if (!nested || context.registers.nested?.kind === "npt") return gpa;
    return (words.get(nested.entry(gpa, 1)) & layout.PTE_ADDRESS) | (gpa & 0xfffn);
  };
  if (row === 0 || !nested) return existing(guest, context.gva, host, top);
  return existing(nested, row === 5 ? GPA : guest.root, (pa) => pa, 4);
}

test("every walk is drawn whole and explained", () => {
  const kinds = new Map<string, number>();
  fc.assert(
    fc.property(situation, (s) => {
      const made = make(s);
      for (const one of s.damages) {
        const at = placeOf(made, one);
        if (at !== null) made.words.set(at, made.words.get(at) ^ one.bit);
      }
      const gone = s.missing && placeOf(made, s.missing);
      if (gone !== null) made.words.remove(gone);
      const { context } = made;
      const translation = walked(made.words, context);
      kinds.set(translation.result.kind, (kinds.get(translation.result.kind) ?? 0) + 1);

      const sentence = explainWalk(translation, context);
      expect(sentence).toMatch(/^An? .*[^.]\.$/);
      expect(sentence).not.toMatch(/do not account|undefined|NaN|null/);
      expect(accumulatedRights(translation, context)).toHaveLength(translation.steps.length);

      const page = walkPage(translation, context);
      expect(page).not.toMatch(/undefined|NaN|\[object/);
      const elements = elementsOf(page);
      const ids = elements.flatMap(({ attributes }) => attributes.get("id") ?? []);
      expect(new Set(ids).size).toBe(ids.length);
      const numbers = translation.steps.map((_, i) => `r${i + 1}`);
      expect(ids.filter((id) => /^r\d/.test(id))).toEqual(numbers);
      if (context.registers.nested) {
        const links = elements
          .filter(({ name }) => name === "a")
          .map(({ attributes }) => attributes.get("href"));
        expect(links).toEqual(numbers.map((id) => `#${id}`));
      }
      const classes = (name: string): number =>
        elements.filter(({ attributes }) => attributes.get("class")?.split(" ").includes(name)).length;
      const failed = translation.result.kind !== "ok";
      const began = modelOf(translation, context).end !== null;
      expect(classes("end") > 0).toBe(failed && began);
    }),
    { numRuns: 1500 },
  );
  // The situations are worth their time: each kind of end came up.
  for (const kind of [
    "ok",
    "page-fault",
    "general-protection",
    "ept-violation",
    "ept-misconfiguration",
    "missing",
  ])
    expect(kinds.get(kind) ?? 0, kind).toBeGreaterThan(20);
  expect(kinds.get("nested-page-fault") ?? 0).toBeGreaterThan(20);
});

test("text of the caller stays text", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (title, repeat) => {
      const { words, context } = make(fc.sample(situation, { numRuns: 1, seed: 7 })[0]!);
      const page = walkPage(walked(words, context), context, { title, repeat });
      const plain = walkPage(walked(words, context), context, { title: "x", repeat: "x" });
      const names = (text: string): string[] => elementsOf(text).map(({ name }) => name);
      if (title !== "" && repeat !== "") expect(names(page)).toEqual(names(plain));
      else expect(() => names(page)).not.toThrow();
    }),
    { numRuns: 200 },
  );
});

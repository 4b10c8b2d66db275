// mmap, munmap, mprotect, DONTNEED, accesses and gup against a model of pages: for every page of a small window, its
// VMA's flags and page size, the bytes stored last, and whether a frame is behind it.
import fc from "fast-check";
import { expect, test } from "vitest";
import { HUGE, HostMachine, HostStatus, MachineOption, PAGE, READ, WRITE } from "../host-machine.js";

/** Window: three 2 MiB ranges, seen in pieces of 256 KiB, of which only the first page is accessed. */
const BASE = 0x4000_0000n;
const PIECE = 64n * PAGE;
const PIECES = 24;
const VMAS = 6;

interface Piece {
  flags: number;
  shift: number;
  value: bigint;
  touched: boolean;
}
type Model = (Piece | null)[];

/** Rows that the VMA table must hold: runs of equal flags and page size. */
function rows(model: Model): { start: bigint; end: bigint; flags: number; shift: number }[] {
  const out: { start: bigint; end: bigint; flags: number; shift: number }[] = [];
  model.forEach((piece, i) => {
    if (!piece) return;
    const start = BASE + BigInt(i) * PIECE;
    const last = out.at(-1);
    if (last && last.end === start && last.flags === piece.flags && last.shift === piece.shift)
      last.end += PIECE;
    else out.push({ start, end: start + PIECE, flags: piece.flags, shift: piece.shift });
  });
  return out;
}

const inside = (model: Model, at: number): number => {
  const boundary = BASE + BigInt(at) * PIECE;
  return rows(model).some((r) => r.start < boundary && boundary < r.end) ? 1 : 0;
};
const tooMany = (model: Model, first: number, last: number): boolean =>
  rows(model).length + inside(model, first) + inside(model, last) > VMAS;

type Change =
  | { kind: "map"; first: number; count: number; flags: number; huge: boolean }
  | { kind: "unmap" | "dontneed"; first: number; count: number }
  | { kind: "protect"; first: number; count: number; flags: number };
type Use =
  { kind: "store"; at: number; value: bigint } | { kind: "load" | "gup"; at: number; write: boolean };
type Action = Change | Use;

const hvaOf = (piece: number): bigint => BASE + BigInt(piece) * PIECE;

function apply(m: HostMachine, model: Model, action: Action): void {
  if ("at" in action) access(m, model, action);
  else change(m, model, action);
}

function change(m: HostMachine, model: Model, action: Change): void {
  const align = action.kind === "map" && action.huge ? 8 : 1;
  const first = Math.floor(action.first / align) * align;
  const last = Math.min(PIECES, first + Math.ceil(action.count / align) * align);
  const range = model.slice(first, last);
  const hva = hvaOf(first);
  const length = BigInt(last - first) * PIECE;
  switch (action.kind) {
    case "map": {
      const result = m.tryMap(hva, length, action.flags, action.huge ? 21 : 12);
      if (rows(model).length === VMAS) expect(result).toBe(BigInt(HostStatus.TooManyVmas));
      else if (range.some((p) => p)) expect(result).toBe(BigInt(HostStatus.Overlap));
      else {
        expect(result).toBe(hva);
        const flags = action.flags & WRITE ? action.flags | READ : action.flags;
        for (let i = first; i < last; i++) {
          model[i] = { flags, shift: action.huge ? 21 : 12, value: 0n, touched: false };
        }
      }
      break;
    }
    case "unmap":
      if (tooMany(model, first, last)) expect(m.unmap(hva, length)).toBe(HostStatus.TooManyVmas);
      else {
        expect(m.unmap(hva, length)).toBe(HostStatus.Ok);
        model.fill(null, first, last);
      }
      break;
    case "dontneed":
      expect(m.dontneed(hva, length)).toBe(range.every((p) => p) ? HostStatus.Ok : HostStatus.NoVma);
      for (const piece of range) if (piece) Object.assign(piece, { value: 0n, touched: false });
      break;
    case "protect": {
      const status = m.protect(hva, length, action.flags);
      if (!range.every((p) => p)) expect(status).toBe(HostStatus.NoVma);
      else if (tooMany(model, first, last)) expect(status).toBe(HostStatus.TooManyVmas);
      else {
        expect(status).toBe(HostStatus.Ok);
        const flags = action.flags & WRITE ? action.flags | READ : action.flags;
        for (const piece of range) piece!.flags = flags;
      }
      break;
    }
  }
}

function access(m: HostMachine, model: Model, action: Use): void {
  const piece = model[action.at];
  const hva = hvaOf(action.at);
  const write = action.kind === "store" || (action.kind === "gup" && action.write);
  const expected = !piece
    ? HostStatus.NoVma
    : piece.flags & (write ? WRITE : READ)
      ? HostStatus.Ok
      : HostStatus.Access;
  if (action.kind === "store") {
    expect(m.store(hva, action.value)).toBe(expected);
    if (expected === HostStatus.Ok) piece!.value = action.value;
  } else if (action.kind === "load") {
    const value = m.u64("hostLoad", 0, hva, 8);
    expect(m.u32("hostLoadStatus", 0)).toBe(expected);
    if (expected === HostStatus.Ok) expect(value).toBe(piece!.value);
  } else {
    const { pfn, status } = m.gup(hva, write);
    expect(status).toBe(expected);
    if (expected === HostStatus.Ok) {
      expect(m.view.getBigUint64(m.u32("hostFrame", pfn), true)).toBe(piece!.value);
      m.put(pfn);
    }
  }
  if (expected === HostStatus.Ok) piece!.touched = true;
}

const first = fc.nat({ max: PIECES - 1 });
const count = fc.integer({ min: 1, max: 12 });
const flags = fc.constantFrom(READ, READ | WRITE, READ | WRITE, 0);
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("map" as const), first, count, flags, huge: fc.boolean() }),
  fc.record({ kind: fc.constantFrom("unmap" as const, "dontneed" as const), first, count }),
  fc.record({ kind: fc.constant("protect" as const), first, count, flags }),
  fc.record({ kind: fc.constant("store" as const), at: first, value: fc.bigInt(1n, (1n << 64n) - 1n) }),
  fc.record({ kind: fc.constantFrom("load" as const, "gup" as const), at: first, write: fc.boolean() }),
);

test("the address space does what a table of pages does", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const m = new HostMachine({
        frames: 4096,
        vmas: VMAS,
        options: MachineOption.ZeroPages | MachineOption.Poison,
      });
      const fresh = m.free;
      const model: Model = new Array<Piece | null>(PIECES).fill(null);
      for (const a of actions) {
        apply(m, model, a);
        expect(m.vmas).toEqual(rows(model));
        model.forEach((piece, i) => {
          if (!piece) expect(m.pte(hvaOf(i))).toBe(0n);
          else if (piece.touched) expect(m.pte(hvaOf(i))).not.toBe(0n);
        });
        expect(m.imbalance).toBe(0);
      }
      expect(m.unmap(BASE, BigInt(PIECES) * PIECE)).toBe(HostStatus.Ok);
      expect([m.free, m.imbalance]).toEqual([fresh, 0]);
    }),
    { numRuns: 150 },
  );
});

test("an address is chosen where there is room, and is free", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ pages: fc.integer({ min: 1, max: 2000 }), huge: fc.boolean(), drop: fc.nat() }), {
        maxLength: 30,
      }),
      (steps) => {
        const m = new HostMachine({ vmas: 64 });
        for (const { pages, huge, drop } of steps) {
          const length = huge ? BigInt(Math.ceil(pages / 512)) * HUGE : BigInt(pages) * PAGE;
          const before = m.vmas;
          const hva = m.map(length, { shift: huge ? 21 : 12, flags: drop & 1 ? READ : READ | WRITE });
          expect(hva % (huge ? HUGE : PAGE)).toBe(0n);
          for (const vma of before) expect(hva + length <= vma.start || vma.end <= hva).toBe(true);
          const victim = m.vmas[drop % m.vmas.length]!;
          if (drop % 3 === 0) m.unmap(victim.start, PAGE);
        }
      },
    ),
    { numRuns: 50 },
  );
});

// An access as a whole: one page or two, the guest's tables and the nested ones below them.
//
// Where the manuals leave the order open, this is the order: the guest's walk, with the nested walks of its tables, comes to
// its end; its rights are looked at; then its accessed and dirty flags are set, from the top; then the nested walk of the
// address itself. A nested walk of EPT sets the flags of
// each entry as it uses it, and finds the log full there; one of AMD when it has come to its end. The second page comes after the first.
import { OracleMemory } from "./memory.js";
import { type Exit, type Nested, type Reached, type Reference, reach } from "./nested.js";
import {
  type AccessName,
  type Control,
  type Rights,
  type Translated,
  type Verdict,
  classify,
  translate,
} from "./paging.js";

export interface State {
  control: Control;
  /** CR0.PG. Without it a linear address is the physical one. */
  paging: boolean;
  cr3: bigint;
  nested: Nested | null;
  /** Translations of guest-physical pages that the processor has kept, and uses to reach the guest's tables. */
  kept?: ReadonlyMap<bigint, bigint>;
}

/** An access to one page: where it was made, and what a processor may keep of it. */
export interface Made {
  kind: "ok";
  gpa: bigint;
  pa: bigint;
  guest: Translated | null;
  /** EPT's or AMD's entries, and the size of their page. */
  nested: { shift: number; entries: readonly bigint[] } | null;
}

export type Answer =
  | (Made & { secondPa: bigint | null })
  | { kind: "page-fault"; error: number; cr2: bigint }
  | { kind: "general-protection" }
  | { kind: "stack-fault" }
  | Exit;

/** The end of an access within the walk of the guest's tables. */
class Ended {
  constructor(readonly exit: Exit) {}
}

/** 28.2.1: with CR0.PG = 0 every linear address is a user-mode one, read/write and not execute-disable. */
const UNPAGED: Rights = { user: true, writable: true, executeDisable: false };

/** Without paging: the address itself. */
function unpaged(address: bigint): Translated {
  const nothing = { set: new Map(), key: 0, global: false, dirty: true };
  return { kind: "ok", pa: address, shift: 12, rights: UNPAGED, ...nothing };
}

type Part = Made | Exclude<Answer, { kind: "ok" }>;

class Access {
  /** Accessed and dirty flags of the guest, host-physical, that a success sets. */
  readonly guestFlags = new Map<bigint, bigint>();

  constructor(
    private readonly state: State,
    private readonly name: AccessName,
    private readonly memory: OracleMemory,
  ) {}

  /** The nested dimension of one use; without one the address is host-physical. */
  private reach(use: Omit<Reference, "read" | "write" | "fetch"> & Partial<Reference>): Reached {
    const { nested, control } = this.state;
    const whole = { read: false, write: false, fetch: false, ...use };
    return nested
      ? reach(whole, nested, control, this.memory)
      : { kind: "ok", hpa: use.gpa, shift: 52, entries: [] };
  }

  /** A word of a guest's table, for reading or for the update of a flag in it: where it is. */
  private table(gpa: bigint, update: boolean): bigint {
    const { nested, kept } = this.state;
    const page = kept?.get(gpa >> 12n);
    if (page !== undefined && !update) return (page << 12n) | (gpa & 0xfffn);
    // 29.3.3.2: with accessed and dirty flags of EPT, and with AMD's nested paging always, a read counts as a write too.
    const writes = nested !== null && (nested.kind === "npt" || ((nested.eptp >> 6n) & 1n) === 1n);
    const got = this.reach({ gpa, read: true, write: update || writes, table: true, linear: null });
    if (got.kind !== "ok") throw new Ended(got);
    return got.hpa;
  }

  private guest(address: bigint): Verdict {
    const { control, cr3 } = this.state;
    const where = new Map<bigint, bigint>();
    const verdict = translate(control, cr3, address, this.name, (gpa, level) => {
      const hpa = this.table(gpa, false);
      where.set(gpa, hpa);
      return this.memory.read(hpa, { nested: false, level });
    });
    if (verdict.kind === "page-fault")
      for (const [gpa, bits] of verdict.may) this.memory.allow(where.get(gpa)!, bits);
    if (verdict.kind !== "ok") return verdict;
    for (const [gpa, bits] of verdict.set) {
      const hpa = where.get(gpa)!;
      // An entry may serve two levels, or both pages: its flags are set once.
      if ((bits & ~(this.guestFlags.get(hpa) ?? 0n)) !== 0n) this.table(gpa, true);
      this.guestFlags.set(hpa, (this.guestFlags.get(hpa) ?? 0n) | bits);
      this.memory.allow(hpa, bits);
    }
    return verdict;
  }

  /** One page. */
  part(address: bigint): Part {
    const { paging, control } = this.state;
    try {
      const verdict: Verdict = paging ? this.guest(address) : unpaged(address);
      if (verdict.kind === "page-fault") return { kind: "page-fault", error: verdict.error, cr2: address };
      if (verdict.kind !== "ok") return verdict;
      const { writes, fetches } = classify(this.name, control);
      const got = this.reach({
        gpa: verdict.pa,
        read: !fetches && (!writes || this.name === "modify"),
        write: writes,
        fetch: fetches,
        table: false,
        linear: verdict.rights,
      });
      if (got.kind !== "ok") return got;
      const guest = paging ? verdict : null;
      return { kind: "ok", gpa: verdict.pa, pa: got.hpa, guest, nested: this.state.nested ? got : null };
    } catch (error) {
      if (error instanceof Ended) return error.exit;
      throw error;
    }
  }
}

/** Makes an access of `size` bytes. What it changes is in `memory`. */
export function access(
  state: State,
  address: bigint,
  size: number,
  name: AccessName,
  memory: OracleMemory,
): Answer {
  const one = new Access(state, name, memory);
  const first = one.part(address);
  if (first.kind !== "ok") return first;
  const next = BigInt.asUintN(64, (address | 0xfffn) + 1n);
  const crosses = (address & 0xfffn) + BigInt(size) > 0x1000n;
  const second = crosses ? one.part(next) : null;
  if (second && second.kind !== "ok") return second;
  for (const [hpa, bits] of one.guestFlags) memory.set(hpa, bits);
  return { ...first, secondPa: second ? second.pa : null };
}

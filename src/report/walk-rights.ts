/** The rights that the entries of a walk leave, level by level. */

import { EPT_R, EPT_W, EPT_X, EPT_XU, PTE_P, PTE_RW, PTE_US, PTE_XD } from "../core/layout.generated.js";
import { type Translation } from "../machine/translation.js";
import { modelOf, type Reference, type WalkContext, type WalkModel } from "./walk-model.js";

/**
 * What the entries of one walk of one dimension allow together, as the entries say it: what CR0.WP, SMEP, SMAP and
 * protection keys make of that is for the access.
 */
export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  /** EPT with mode-based execute control: fetches from supervisor-mode linear addresses. */
  readonly execute: boolean;
  /** Ordinary format: accesses of user mode. EPT knows no such thing: null. */
  readonly user: boolean | null;
  /** EPT with mode-based execute control: fetches from user-mode linear addresses. Otherwise null. */
  readonly userExecute: boolean | null;
}

/** What one entry allows by itself. One that is not present allows nothing. */
export function rightsOf({ format, entry }: Pick<Reference, "format" | "entry">, mbec: boolean): Rights {
  const has = (bit: bigint): boolean => (entry & bit) !== 0n;
  if (format === "ept") {
    const userExecute = mbec ? has(EPT_XU) : null;
    return { read: has(EPT_R), write: has(EPT_W), execute: has(EPT_X), user: null, userExecute };
  }
  const read = has(PTE_P);
  return {
    read,
    write: read && has(PTE_RW),
    execute: read && !has(PTE_XD),
    user: read && has(PTE_US),
    userExecute: null,
  };
}

/** What `a` and `b`, of one dimension, allow both. */
export function rightsOfBoth(a: Rights, b: Rights): Rights {
  const both = (x: boolean | null, y: boolean | null): boolean | null =>
    x === null || y === null ? null : x && y;
  return {
    read: a.read && b.read,
    write: a.write && b.write,
    execute: a.execute && b.execute,
    user: both(a.user, b.user),
    userExecute: both(a.userExecute, b.userExecute),
  };
}

/** Rights after each reference of a walk: those of its dimension, from the top of its own tables. */
export function accumulate({ settings, references }: Pick<WalkModel, "settings" | "references">): Rights[] {
  const mbec = settings.nested?.mbec ?? false;
  let guest: Rights | null = null;
  let nested: Rights | null = null;
  return references.map((reference) => {
    const own = rightsOf(reference, mbec);
    if (reference.dimension === "guest") {
      // The next nested walk begins at its root again.
      nested = null;
      return (guest = guest ? rightsOfBoth(guest, own) : own);
    }
    return (nested = nested ? rightsOfBoth(nested, own) : own);
  });
}

/**
 * The rights accumulated after each step of a walk: element i belongs to step i. A guest's entry accumulates over the
 * guest's entries above it, a nested one over those above it in the same nested walk. Error: `USAGE`.
 */
export function accumulatedRights(translation: Translation, context: WalkContext): readonly Rights[] {
  return accumulate(modelOf(translation, context));
}

/** Rights in short: "RWX U", "R-X S" in the ordinary format; "RW-" of EPT, "RW- XU" with mode-based execute control. */
export function shortRights({ read, write, execute, user, userExecute }: Rights): string {
  const rwx = `${read ? "R" : "-"}${write ? "W" : "-"}${execute ? "X" : "-"}`;
  if (user !== null) return `${rwx} ${user ? "U" : "S"}`;
  return userExecute === null ? rwx : `${rwx} ${userExecute ? "XU" : "--"}`;
}

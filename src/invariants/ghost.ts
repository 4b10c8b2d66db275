/**
 * Building blocks of ghost states: canonical, never changed in place. Two states with the same content have the same JSON
 * text, however they came about.
 */

import { type Ghost, type Objection } from "./checker.js";

/** A record whose keys are in a fixed order: small integers ascending, then others by their text. */
export type Table<V extends Ghost> = { readonly [key: string]: V };

export const EMPTY: Table<never> = {};

/** The record with `key` set. */
export function put<V extends Ghost>(table: Table<V>, key: string | number, value: V): Table<V> {
  const name = String(key);
  if (name in table) return table[name] === value ? table : { ...table, [name]: value };
  const entries = [...Object.entries(table), [name, value] as [string, V]];
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The record without `key`: the same object if it is not there. */
export function drop<V extends Ghost>(table: Table<V>, key: string | number): Table<V> {
  const name = String(key);
  return name in table ? Object.fromEntries(Object.entries(table).filter(([k]) => k !== name)) : table;
}

/** The record with every value replaced by what `f` makes of it; undefined drops it. The same object if all stay. */
export function remap<V extends Ghost>(
  table: Table<V>,
  f: (value: V, key: string) => V | undefined,
): Table<V> {
  let changed = false;
  const entries: [string, V][] = [];
  for (const [key, value] of Object.entries(table)) {
    const next = f(value, key);
    if (next !== value) changed = true;
    if (next !== undefined) entries.push([key, next]);
  }
  return changed ? Object.fromEntries(entries) : table;
}

/** A set of integers, ascending. */
export type Numbers = readonly number[];

export function including(set: Numbers, n: number): Numbers {
  return set.includes(n) ? set : [...set, n].sort((a, b) => a - b);
}

export function excluding(set: Numbers, n: number): Numbers {
  return set.includes(n) ? set.filter((m) => m !== n) : set;
}

export function object(text: string): Objection {
  return { objection: text };
}

/** An address or frame number as the reports print it. */
export function hex(n: number | bigint): string {
  return `0x${n.toString(16)}`;
}

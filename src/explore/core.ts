/**
 * The explored modules: the release and the lab module with a call before every access to memory, and able to be
 * suspended there (scripts/instrument.mjs makes them). Beside each lies the table of its sites.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type WasmModule } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { type AccessKind, type Site } from "./trace.js";

/** Builds that can be explored. `lab` can leave rules out and tells its events; `release` is what is shipped. */
export type ExploredBuild = "lab" | "release";

/** A site, with what the hooks need. */
export interface ExploredSite extends Site {
  /** Static offset of the instruction: not part of the pointer that the call passes. */
  readonly offset: number;
}

/** A compiled module and its sites. */
export interface ExploredModule {
  readonly build: ExploredBuild;
  readonly module: WasmModule;
  readonly sites: readonly ExploredSite[];
  /** First bytes of the SHA-256 of the module: a schedule means nothing to another one. */
  readonly hash: string;
}

interface SiteTable {
  readonly schema: string;
  readonly strings: readonly string[];
  readonly rows: readonly (readonly [number, number, number, number, number, number, number])[];
}

const SCHEMA = "guestmmu-sites/1";

const loaded = new Map<ExploredBuild, ExploredModule>();

function fileOf(build: ExploredBuild, extension: string): URL {
  return new URL(`../../build/${build}-explore.${extension}`, import.meta.url);
}

function sitesOf(table: SiteTable): ExploredSite[] {
  const { strings } = table;
  return table.rows.map(([kind, atomic, size, offset, file, line, name]) => ({
    kind: strings[kind] as AccessKind,
    atomic: atomic === 1,
    size,
    offset,
    file: strings[file]!,
    line,
    function: strings[name]!,
  }));
}

/** Reads and compiles an explored module, once a process. Throws `MODULE_MISMATCH` if it is not there. */
export function exploredModule(build: ExploredBuild): ExploredModule {
  const known = loaded.get(build);
  if (known) return known;
  try {
    const bytes = readFileSync(fileOf(build, "wasm"));
    const table = JSON.parse(readFileSync(fileOf(build, "sites.json"), "utf8")) as SiteTable;
    if (table.schema !== SCHEMA) throw new Error(`sites of another version: ${table.schema}`);
    const made: ExploredModule = {
      build,
      module: new WebAssembly.Module(bytes),
      sites: sitesOf(table),
      hash: createHash("sha256").update(bytes).digest("hex").slice(0, 8),
    };
    loaded.set(build, made);
    return made;
  } catch (cause) {
    throw new GuestMmuError("MODULE_MISMATCH", {
      message: `The explored ${build} module cannot be read from ${fileOf(build, "wasm").href}.`,
      hint: "Install the package again; in a checkout, run `npm run build`.",
      cause,
    });
  }
}

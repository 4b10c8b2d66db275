/** Finds scenarios: those of the package by name, those of a user in his file. */

import { createRequire } from "node:module";
import * as nodeModule from "node:module";
import { existsSync } from "node:fs";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { GuestMmuError, usageError } from "../errors.js";
import { randomScenario } from "../explore/random-scenario.js";
import { type Scenario } from "../explore/scenario.js";
import { checkScenario, lineOf, looksLikeScenario } from "../explore/user-code.js";
import { nearest } from "../nearest.js";
import { CLAIMS } from "../scenarios/claims.js";
import { SCENARIOS } from "../scenarios/index.js";
import { type Source } from "./jobs.js";

const SCRIPT = [".js", ".mjs"];
const TYPED = [".ts", ".mts"];

/** True for what can only be a file: a path, or a name with the ending of one. */
export function looksLikeFile(text: string): boolean {
  return /[\\/]/.test(text) || [...SCRIPT, ...TYPED, ".cjs", ".cts", ".tsx", ".jsx"].includes(extname(text));
}

/** The scenario of this name, or `USAGE` with the nearest one. */
export function namedScenario(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found) return found;
  const near = nearest(
    name,
    SCENARIOS.map((scenario) => scenario.name),
  );
  throw usageError(
    `There is no scenario ${JSON.stringify(name)}.`,
    near
      ? `Did you mean ${near}? \`guestmmu explore --list\` lists them.`
      : "`guestmmu explore --list` lists them.",
  );
}

/** Scenarios that a file exports. Throws `USAGE` for a file that has none or cannot be loaded. */
export async function scenariosOf(path: string): Promise<Scenario[]> {
  const file = resolve(path);
  if (!existsSync(file))
    throw usageError(`There is no file ${path}.`, "Give the file that exports the scenario.");
  const exported = Object.values(await load(file, path));
  const found = [...new Set(exported.filter(looksLikeScenario))].map((one) => ofFile(path, one));
  if (found.length === 0) {
    throw usageError(
      `${path} exports no scenario.`,
      'Export what `scenario("my-name", { ... })` of guestmmu/explore returns, by name or as default.',
    );
  }
  const twice = found.find(({ name }, i) => found.findIndex((other) => other.name === name) !== i);
  if (twice)
    throw usageError(`${path} exports two scenarios called ${twice.name}.`, "Give each a name of its own.");
  return found;
}

/** A scenario of a file, checked: one that is not made with `scenario` is checked here first. */
function ofFile(path: string, value: unknown): Scenario {
  try {
    checkScenario(value);
    return value;
  } catch (error) {
    throw inFile(path, error);
  }
}

/** The same error, with the file that it is about. */
export function inFile(path: string, error: unknown): unknown {
  if (!(error instanceof GuestMmuError) || error.message.includes(path)) return error;
  return new GuestMmuError(error.code, {
    message: `${path}: ${error.message}`,
    hint: error.hint,
    cause: error.cause,
  });
}

/** The scenario that a source names. */
export async function scenarioOf(source: Source): Promise<Scenario> {
  switch (source.kind) {
    case "named":
      return namedScenario(source.name);
    case "random":
      return randomScenario(source.seed);
    case "claim":
      return CLAIMS[source.claim]!.rows[source.row]!.scenario;
    case "file": {
      const found = (await scenariosOf(source.path)).find(({ name }) => name === source.name);
      if (found) return found;
      throw usageError(
        `${source.path} exports no scenario ${source.name}.`,
        "Give the file that the token came from.",
      );
    }
  }
}

const loaded = new Map<string, Promise<Record<string, unknown>>>();

/** Loads a file once a thread. */
function load(file: string, shown: string): Promise<Record<string, unknown>> {
  const known = loaded.get(file);
  if (known) return known;
  const ending = extname(file);
  if (![...SCRIPT, ...TYPED].includes(ending)) {
    throw usageError(
      `${shown} is no module.`,
      `A scenario is in a file that ends in ${[...SCRIPT, ...TYPED].join(", ")}.`,
    );
  }
  const loading = (
    TYPED.includes(ending) ? bundled(file, shown) : Promise.resolve(pathToFileURL(file).href)
  ).then((url) => {
    findOurselves();
    return (import(url) as Promise<Record<string, unknown>>).catch((cause: unknown) => {
      if (cause instanceof GuestMmuError) throw inFile(shown, cause);
      const why = cause instanceof Error ? cause.message : String(cause);
      const line = lineOf(cause);
      throw usageError(
        `${shown} cannot be loaded: ${why}${line ? ` (${line})` : ""}`,
        "The file has to run by itself: try `node` on it.",
        cause,
      );
    });
  });
  loaded.set(file, loading);
  return loading;
}

/** Entries of this package that a scenario may import, wherever its file lies. */
const ENTRIES: Readonly<Record<string, string>> = {
  guestmmu: new URL("../index.js", import.meta.url).href,
  "guestmmu/explore": new URL("./index.js", import.meta.url).href,
  "guestmmu/layout": new URL("../core/layout.generated.js", import.meta.url).href,
};

let registered = false;

/** A scenario's `import "guestmmu/explore"` means this copy, also where no other one is installed. */
function findOurselves(): void {
  if (registered || typeof nodeModule.register !== "function") return;
  registered = true;
  const hook = `const entries = ${JSON.stringify(ENTRIES)};
    export async function resolve(specifier, context, next) {
      return Object.hasOwn(entries, specifier)
        ? { url: entries[specifier], shortCircuit: true }
        : next(specifier, context);
    }`;
  nodeModule.register(`data:text/javascript,${encodeURIComponent(hook)}`);
}

interface Bundler {
  build(options: object): Promise<{ readonly outputFiles: readonly { readonly text: string }[] }>;
}

/** A TypeScript file as one script without imports but ours and Node's. */
async function bundled(file: string, shown: string): Promise<string> {
  const { build } = await bundler(file, shown);
  const ours = {
    name: "guestmmu",
    setup(plugin: {
      onResolve(
        filter: { filter: RegExp },
        answer: (found: { path: string }) => { path: string; external: true } | undefined,
      ): void;
    }) {
      plugin.onResolve({ filter: /^guestmmu(\/(explore|layout))?$/ }, ({ path }) => ({
        path: ENTRIES[path]!,
        external: true,
      }));
    },
  };
  try {
    const { outputFiles } = await build({
      entryPoints: [file],
      bundle: true,
      platform: "node",
      format: "esm",
      target: "es2022",
      write: false,
      logLevel: "silent",
      plugins: [ours],
    });
    return `data:text/javascript;base64,${Buffer.from(outputFiles[0]!.text).toString("base64")}`;
  } catch (cause) {
    const first = (cause as { errors?: { text: string; location: { line: number } | null }[] }).errors?.[0];
    const why = first
      ? `${first.location ? `line ${first.location.line}: ` : ""}${first.text}`
      : String(cause);
    throw usageError(`${shown} cannot be compiled: ${why}`, "Correct it, or give a compiled file.", cause);
  }
}

/** esbuild, as installed beside the scenario or beside this package. */
async function bundler(file: string, shown: string): Promise<Bundler> {
  for (const from of [pathToFileURL(file).href, import.meta.url]) {
    try {
      const found = createRequire(from).resolve("esbuild");
      const { default: module } = (await import(pathToFileURL(found).href)) as { default: Bundler };
      return module;
    } catch {
      // The next place.
    }
  }
  throw new GuestMmuError("UNSUPPORTED", {
    message: `${shown} is TypeScript, which takes esbuild to load, and esbuild is not installed.`,
    hint: "Install it (npm install --save-dev esbuild), or compile the file and give the .js.",
  });
}

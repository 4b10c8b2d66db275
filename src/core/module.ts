/**
 * Finds and compiles the WebAssembly module of the core: once per address and process. Node reads the file beside this
 * one, a browser fetches it; an embedder that bundles brings the module, its bytes or its address.
 */

import { GuestMmuError } from "../errors.js";
import { ABI, LAB_ABI } from "./abi.js";
import { type WasmModule } from "./wasm.js";

/**
 * Builds of the core that the package contains. `lab` can leave rules of the protocol out; `release` cannot. `embed` is
 * `release` for one thread: its memory is not shared, so that it runs in pages without cross-origin isolation.
 */
export type BuildName = "release" | "lab" | "embed";

/** Where a module comes from: a build of the package, a compiled module, its bytes, or where they are. */
export type ModuleSource = BuildName | WasmModule | ArrayBuffer | ArrayBufferView<ArrayBuffer> | URL;

const BUILDS: Readonly<Record<BuildName, URL>> = {
  release: new URL("../../build/release.wasm", import.meta.url),
  lab: new URL("../../build/lab.wasm", import.meta.url),
  embed: new URL("../../build/embed.wasm", import.meta.url),
};

/** True for the names that `ModuleSource` knows. */
export function isBuildName(value: unknown): value is BuildName {
  return typeof value === "string" && Object.hasOwn(BUILDS, value);
}

// The file system of Node, if this is Node. The name is a variable so that bundlers for browsers leave it alone.
const fileSystem = "node:fs";
const files =
  typeof process === "object" && typeof process.versions?.node === "string"
    ? ((await import(/* @vite-ignore */ /* webpackIgnore: true */ fileSystem)) as typeof import("node:fs"))
    : null;

const compiled = new Map<string, WebAssembly.Module>();
const compiling = new Map<string, Promise<WebAssembly.Module>>();

function addressOf(source: BuildName | URL): URL {
  return source instanceof URL ? source : BUILDS[source];
}

function isBytes(source: unknown): source is ArrayBuffer | ArrayBufferView<ArrayBuffer> {
  return source instanceof ArrayBuffer || ArrayBuffer.isView(source);
}

function notASource(source: unknown): GuestMmuError {
  return new GuestMmuError("CONFIG_INVALID", {
    message: `The module is ${source === null ? "null" : typeof source}, which is not a source of a module.`,
    hint: 'Give "release", "embed", "lab", a WebAssembly.Module, its bytes, or a URL.',
  });
}

function unreadable(address: URL, cause: unknown): GuestMmuError {
  return new GuestMmuError("MODULE_MISMATCH", {
    message: `The module of the core cannot be read from ${address.href}.`,
    hint: "Install the package again; in a checkout, run `npm run build`.",
    cause,
  });
}

/** True if the module is a lab build: one that exports the parts of the protocol. */
export function isLabModule(module: WasmModule): boolean {
  return WebAssembly.Module.exports(module).some(({ name }) => Object.hasOwn(LAB_ABI, name));
}

/** True if the module is an embed build: one that wants a memory that is not shared. */
export function isEmbedModule(module: WasmModule): boolean {
  return WebAssembly.Module.exports(module).some(({ name }) => name === "UNSHARED_MEMORY");
}

/** Refuses a module that is not a core of this version, naming what it lacks. */
function checked(module: WebAssembly.Module): WebAssembly.Module {
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const missing = Object.keys(ABI).filter((name) => !exported.has(name));
  const foreign = WebAssembly.Module.imports(module).filter(
    ({ module: from, name }) => from !== "env" || !["memory", "order", "choose", "note"].includes(name),
  );
  if (missing.length === 0 && foreign.length === 0) return module;
  const lacks = missing.length ? `lacks ${missing.slice(0, 3).join(", ")}` : "";
  const wants = foreign.length ? `imports ${foreign[0]!.module}.${foreign[0]!.name}` : "";
  throw new GuestMmuError("MODULE_MISMATCH", {
    message: `The module is not a core of this version: it ${[lacks, wants].filter(Boolean).join(" and ")}.`,
    hint: "Use the .wasm files of the installed package, of the same version as its JavaScript.",
  });
}

function compileBytes(bytes: BufferSource): WebAssembly.Module {
  try {
    return checked(new WebAssembly.Module(bytes));
  } catch (cause) {
    if (cause instanceof GuestMmuError) throw cause;
    throw new GuestMmuError("MODULE_MISMATCH", {
      message: "The bytes are not a WebAssembly module that this platform can compile.",
      hint: "Give the contents of build/release.wasm, build/embed.wasm or build/lab.wasm.",
      cause,
    });
  }
}

/**
 * The compiled module, without waiting: names and file addresses in Node, modules and bytes anywhere. Throws
 * `UNSUPPORTED` where only fetching could bring it (`openModule` can), `MODULE_MISMATCH` if it is no core of this version.
 */
export function compileModule(source: ModuleSource): WasmModule {
  if (source instanceof WebAssembly.Module) return checked(source);
  if (isBytes(source)) return compileBytes(source);
  if (!isBuildName(source) && !(source instanceof URL)) throw notASource(source);
  const address = addressOf(source);
  const known = compiled.get(address.href);
  if (known) return known;
  if (files === null || address.protocol !== "file:") {
    throw new GuestMmuError("UNSUPPORTED", {
      message: `The module at ${address.href} has to be fetched, which cannot be done without waiting.`,
      hint: "Use `await Machine.open(...)` or `await PageWalker.open(...)`, or give a compiled WebAssembly.Module.",
    });
  }
  let bytes;
  try {
    bytes = files.readFileSync(address);
  } catch (cause) {
    throw unreadable(address, cause);
  }
  const module = compileBytes(new Uint8Array(bytes));
  compiled.set(address.href, module);
  return module;
}

async function fetchModule(address: URL): Promise<WebAssembly.Module> {
  let response;
  try {
    response = await fetch(address);
  } catch (cause) {
    throw unreadable(address, cause);
  }
  if (!response.ok) throw unreadable(address, `HTTP ${response.status}`);
  // A server that does not know the media type of .wasm makes streaming impossible, not compiling.
  if (response.headers.get("content-type") === "application/wasm") {
    return checked(await WebAssembly.compileStreaming(response));
  }
  return compileBytes(await response.arrayBuffer());
}

/** The compiled module, fetched if need be. Rejects as `compileModule` throws. */
export async function openModule(source: ModuleSource): Promise<WasmModule> {
  const local = !isBuildName(source) && !(source instanceof URL);
  if (local || (files !== null && addressOf(source).protocol === "file:")) return compileModule(source);
  const { href } = addressOf(source);
  let pending = compiling.get(href);
  if (!pending) {
    pending = fetchModule(addressOf(source)).then((module) => {
      compiled.set(href, module);
      return module;
    });
    compiling.set(href, pending);
    // A failure is not kept: the next attempt may find the server up.
    pending.catch(() => compiling.delete(href));
  }
  return pending;
}

// Makes the module that the explorer runs out of a built module of the core: before every access to memory it calls out,
// and it can be suspended there (docs/architecture.md, "The explored modules"). No yield point is written by hand.
//
//   1  the accesses of each function are listed from the binary, in order, with the source line of each
//   2  `flatten` puts pointer and value of every access in locals, so that the call really comes directly before it
//   3  the pointer of each access becomes `call access(pointer, site)`; copy and fill get a call before them; wait and
//      notify become calls, as a real wait would block the only thread
//   4  locals that nobody will look at again are set to zero before each call that may suspend (forget-locals.mjs)
//   5  `asyncify` makes each function able to unwind at such a call, and optimises it
//
// Beside the module it writes the table of sites: what each number that the calls pass stands for.
import { readFile, writeFile } from "node:fs/promises";
import { TraceMap, decodedMappings } from "@jridgewell/trace-mapping";
import binaryen from "binaryen";
import { BinaryReader, BinaryReaderState, OperatorCode } from "wasmparser";
import { enclosingFunctions } from "./enclosing-functions.mjs";
import { fieldsOf, parentsOf, replaceChild } from "./expressions.mjs";
import { forgetLocals } from "./forget-locals.mjs";

const IMPORTS = "explore";

/** Read at once: whoever loads this file is about to instrument something. */
const sources = enclosingFunctions();

/** Accesses of one function of the binary, in order: operator name and byte offset. */
function accessOf(operator, offset) {
  const name = OperatorCode[operator.code];
  if (name === undefined) return null;
  if (/^[if](32|64)_load|^v128_load/.test(name)) return { op: "load", atomic: false, offset };
  if (/^[if](32|64)_store|^v128_store/.test(name)) return { op: "store", atomic: false, offset };
  if (/_atomic_load/.test(name)) return { op: "load", atomic: true, offset };
  if (/_atomic_store/.test(name)) return { op: "store", atomic: true, offset };
  if (/_atomic_rmw.*cmpxchg/.test(name)) return { op: "compare", atomic: true, offset };
  if (/_atomic_rmw/.test(name)) return { op: "modify", atomic: true, offset };
  if (/atomic_wait/.test(name)) return { op: "wait", atomic: true, offset };
  if (/atomic_notify/.test(name)) return { op: "notify", atomic: true, offset };
  if (name === "memory_copy") return { op: "copy", atomic: false, offset };
  if (name === "memory_fill") return { op: "fill", atomic: false, offset };
  return null;
}

/** For each function with a body, in order of the binary: its accesses. */
function listAccesses(binary) {
  const reader = new BinaryReader();
  reader.setData(
    binary.buffer.slice(binary.byteOffset, binary.byteOffset + binary.byteLength),
    0,
    binary.length,
  );
  const functions = [];
  while (true) {
    const at = reader.position;
    if (!reader.read()) break;
    if (reader.state === BinaryReaderState.BEGIN_FUNCTION_BODY)
      functions.push(Object.assign([], { start: at }));
    if (reader.state === BinaryReaderState.CODE_OPERATOR) {
      const access = accessOf(reader.result, at);
      if (access) functions.at(-1).push(access);
    }
    if (reader.state === BinaryReaderState.END_WASM) break;
    if (reader.state === BinaryReaderState.ERROR) throw reader.error;
  }
  return functions;
}

/** Where one-line accessors stand: an access in one of them is shown where it was asked for. */
const PASSED_THROUGH = /assembly\/(sync\/ops|note|layout\/.*)\.ts$/;

/**
 * `(start, offset) => {file, line}`: the source of the instruction at a byte offset of the binary, in a function that
 * begins at `start`. What was inlined from an accessor, or has no place of its own, has that of what comes before it.
 */
function placesOf(map) {
  const segments = decodedMappings(map).flat();
  const files = map.sources.map((source) => source?.replace(/^.*?(?=assembly\/)/, "") ?? "");
  const columns = segments.map(([column]) => column);
  return (start, offset) => {
    let i = upperBound(columns, offset) - 1;
    for (; i >= 0 && columns[i] >= start; i--) {
      const [, source, line] = segments[i];
      if (source !== undefined && !PASSED_THROUGH.test(files[source])) {
        return { file: files[source], line: line + 1 };
      }
    }
    return { file: "", line: 0 };
  };
}

/** Number of elements of a sorted list that are at most `value`. */
function upperBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const OPS = new Map([
  [binaryen.LoadId, "load"],
  [binaryen.StoreId, "store"],
  [binaryen.AtomicRMWId, "modify"],
  [binaryen.AtomicCmpxchgId, "compare"],
  [binaryen.AtomicWaitId, "wait"],
  [binaryen.AtomicNotifyId, "notify"],
  [binaryen.MemoryCopyId, "copy"],
  [binaryen.MemoryFillId, "fill"],
]);

/** Calls `visit(expression, info)` for every access below `expression`, in the order in which they happen. */
function eachAccess(expression, visit) {
  if (!expression) return;
  const fields = fieldsOf(expression);
  if (fields.length === 0) return;
  const info = binaryen.getExpressionInfo(expression);
  for (const field of fields) {
    const child = info[field];
    if (Array.isArray(child)) for (const one of child) eachAccess(one, visit);
    else eachAccess(child, visit);
  }
  if (OPS.has(info.id)) visit(expression, info);
}

/** Puts the calls in front of one access. Returns what replaces it where that cannot be done in place, else 0. */
function hook(module, expression, info, site) {
  const pointer = (ptr) => module.call("explore_access", [ptr, module.i32.const(site)], binaryen.i32);
  const at = (ptr, offset) => (offset ? module.i32.add(ptr, module.i32.const(offset)) : ptr);
  switch (info.id) {
    case binaryen.LoadId:
      binaryen.Load.setPtr(expression, pointer(info.ptr));
      return 0;
    case binaryen.StoreId:
      binaryen.Store.setPtr(expression, pointer(info.ptr));
      return 0;
    case binaryen.AtomicRMWId:
      binaryen.AtomicRMW.setPtr(expression, pointer(info.ptr));
      return 0;
    case binaryen.AtomicCmpxchgId:
      binaryen.AtomicCmpxchg.setPtr(expression, pointer(info.ptr));
      return 0;
    case binaryen.MemoryCopyId: {
      const operands = [info.dest, info.source, info.size];
      const copies = operands.map((operand) => module.copyExpression(operand));
      return module.block(null, [
        module.call("explore_copy", [...copies, module.i32.const(site)], binaryen.none),
        module.memory.copy(...operands),
      ]);
    }
    case binaryen.MemoryFillId: {
      const copies = [info.dest, info.size].map((operand) => module.copyExpression(operand));
      return module.block(null, [
        module.call("explore_fill", [...copies, module.i32.const(site)], binaryen.none),
        module.memory.fill(info.dest, info.value, info.size),
      ]);
    }
    case binaryen.AtomicWaitId:
      return module.call(
        "explore_wait",
        [at(info.ptr, info.offset ?? 0), info.expected, module.i32.const(site)],
        binaryen.i32,
      );
    default:
      return module.call(
        "explore_notify",
        [at(info.ptr, info.offset ?? 0), info.notifyCount, module.i32.const(site)],
        binaryen.i32,
      );
  }
}

/**
 * Instruments a module.
 * @param {string} path of the module, for what is wrong with it
 * @param {Buffer} binary the module, with names
 * @param {string} sourceMap its source map, as JSON
 * @returns {Promise<{ problems: string[], bytes: Uint8Array<ArrayBuffer>, sites: object }>} what is wrong, a sentence each; if
 *   nothing is, the instrumented module and the table of its sites
 */
export async function instrumentModule(path, binary, sourceMap) {
  const listed = listAccesses(binary);
  const functionAt = await sources;
  const placeOf = placesOf(new TraceMap(sourceMap));
  const module = binaryen.readBinary(binary);
  module.setFeatures(binaryen.Features.All);
  binaryen.setOptimizeLevel(1);
  module.runPasses(["flatten"]);

  const i32 = binaryen.i32;
  const params = (n) => binaryen.createType(Array.from({ length: n }, () => i32));
  module.addFunctionImport("explore_access", IMPORTS, "access", params(2), i32);
  module.addFunctionImport("explore_copy", IMPORTS, "copy", params(4), binaryen.none);
  module.addFunctionImport("explore_fill", IMPORTS, "fill", params(3), binaryen.none);
  module.addFunctionImport("explore_wait", IMPORTS, "wait", params(3), i32);
  module.addFunctionImport("explore_notify", IMPORTS, "notify", params(3), i32);

  const sites = [];
  let index = 0;
  const problems = [];
  for (let f = 0; f < module.getNumFunctions(); f++) {
    const ref = module.getFunctionByIndex(f);
    const info = binaryen.getFunctionInfo(ref);
    if (info.module !== "") continue; // an import
    const accesses = listed[index++] ?? [];
    const found = [];
    eachAccess(info.body, (expression, access) => found.push([expression, access]));
    if (found.length !== accesses.length || found.some(([, a], i) => OPS.get(a.id) !== accesses[i].op)) {
      problems.push(`${path}: the accesses of ${info.name} were not found again after flatten`);
      continue;
    }
    let parents = null;
    found.forEach(([expression, access], i) => {
      const site = sites.length;
      const { file, line } = placeOf(accesses.start, accesses[i].offset);
      sites.push({
        kind: accesses[i].op,
        atomic: accesses[i].atomic,
        size: access.bytes ?? byteSize(accesses[i], access),
        offset: access.offset ?? 0,
        file,
        line,
        function: functionAt(file, line) ?? info.name.replace(/^.*\//, ""),
      });
      const replacement = hook(module, expression, access, site);
      if (replacement === 0) return;
      parents ??= parentsOf(info.body);
      if (!replaceChild(parents.get(expression), expression, replacement)) {
        problems.push(`${path}: no place for the call before a ${accesses[i].op} in ${info.name}`);
      }
    });
  }
  const nothing = { bytes: new Uint8Array(), sites: {} };
  if (problems.length) return { problems, ...nothing };

  const suspending = [
    ...["access", "copy", "fill", "wait", "notify"].map((n) => `${IMPORTS}.${n}`),
    "env.choose",
  ];
  // As few locals as can be, in code that stays flat; then none with a value that nobody will look at.
  module.runPasses(["flatten", "dce", "simplify-locals-nonesting", "reorder-locals", "coalesce-locals"]);
  module.runPasses(["simplify-locals-nonesting", "reorder-locals", "vacuum"]);
  problems.push(...forgetLocals(module, suspending));
  if (problems.length) return { problems, ...nothing };
  binaryen.setPassArgument("asyncify-imports", suspending.join(","));
  module.runPasses(["asyncify"]);
  binaryen.setPassArgument("asyncify-imports", null);
  if (!module.validate()) return { problems: [`${path} is not valid once instrumented`], ...nothing };
  binaryen.setDebugInfo(false);
  const bytes = module.emitBinary();
  module.dispose();
  return { problems: [], bytes, sites: packSites(sites) };
}

/**
 * Instruments `build/NAME.wasm` to `build/NAME-explore.wasm` and `build/NAME-explore.sites.json`.
 * @param {string} name of a module with a source map beside it
 * @returns {Promise<string[]>} what is wrong, a sentence each
 */
export async function instrument(name) {
  const path = `build/${name}.wasm`;
  const { problems, bytes, sites } = await instrumentModule(
    path,
    await readFile(path),
    await readFile(`${path}.map`, "utf8"),
  );
  if (problems.length) return problems;
  await writeFile(`build/${name}-explore.wasm`, bytes);
  await writeFile(`build/${name}-explore.sites.json`, JSON.stringify(sites));
  return [];
}

/** Bytes of an access whose expression does not say. */
function byteSize(access, info) {
  if (access.op === "wait" || access.op === "notify") return 4;
  if (access.op === "copy" || access.op === "fill") return 0;
  return binaryen.expandType(info.type)[0] === binaryen.i64 ? 8 : 4;
}

/** Strings once, rows of numbers: a fifth of the size. */
function packSites(sites) {
  const strings = [];
  const number = new Map();
  const intern = (text) => {
    if (!number.has(text)) number.set(text, strings.push(text) - 1);
    return number.get(text);
  };
  const rows = sites.map((s) => [
    intern(s.kind),
    s.atomic ? 1 : 0,
    s.size,
    s.offset,
    intern(s.file),
    s.line,
    intern(s.function),
  ]);
  return { schema: "guestmmu-sites/1", strings, rows };
}

// As a child of the build, which starts it early: by the time the module is built and its name arrives, everything that
// is needed beside it is loaded. Answers with what is wrong.
if (process.argv[1]?.endsWith("instrument.mjs")) {
  process.once("message", async (name) => {
    process.send(await instrument(name));
    process.disconnect();
  });
}

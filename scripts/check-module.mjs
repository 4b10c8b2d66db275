// What every built module of the core must be (docs/architecture.md, "The built modules"): no data segment, no table,
// no start function, only the imports named, and `memory.atomic.wait` alone in its function; or, for one thread, no atomic
// instruction at all and a memory that is not shared.
import { readFile } from "node:fs/promises";
import binaryen from "binaryen";

/** Most expressions a function that waits may have: the wait, its three operands, and what drops the result. */
const WAIT_FUNCTION_SIZE = 8;

/** Instructions of each function of a module's text form, one a line, by function name. */
function functionsOf(text) {
  const functions = new Map();
  let current = null;
  for (const line of text.split("\n")) {
    const start = /^ \(func \$(\S+)/.exec(line);
    if (start) functions.set((current = start[1]), []);
    else if (current && /^ {2,}\S/.test(line)) functions.get(current).push(line.trim());
  }
  return functions;
}

/**
 * @param {string} path the module
 * @param {{imports: string[], bytes?: number, threads?: boolean}} allowed imports that it may have, its greatest size, and
 *   whether it is for threads (default) or for one
 * @returns {Promise<string[]>} what is wrong, a sentence each; empty if nothing is
 */
export async function checkModule(path, { imports, bytes = Infinity, threads = true }) {
  const binary = await readFile(path);
  const problems = [];
  const compiled = new WebAssembly.Module(binary);
  for (const { module, name } of WebAssembly.Module.imports(compiled)) {
    if (!imports.includes(`${module}.${name}`)) problems.push(`${path} imports ${module}.${name}`);
  }
  const module = binaryen.readBinary(binary);
  module.setFeatures(binaryen.Features.All);
  const text = module.emitText();
  if (/^ \(data /m.test(text))
    problems.push(`${path} has a data segment: a late worker would reset live state`);
  if (/^ \((table|elem) /m.test(text)) problems.push(`${path} has a table`);
  if (/^ \(start /m.test(text)) problems.push(`${path} has a start function`);
  let waits = 0;
  for (const [name, lines] of functionsOf(text)) {
    if (!lines.some((line) => line.includes("memory.atomic.wait"))) continue;
    waits++;
    if (lines.length > WAIT_FUNCTION_SIZE || lines.some((line) => /\b(loop|call)\b/.test(line))) {
      problems.push(`${path}: ${name} does more than wait (${lines.length} instructions)`);
    }
  }
  if (!threads) {
    if (/\batomic\b/.test(text)) problems.push(`${path} has atomic instructions`);
    if (/^ \(import .*\(memory .* shared\)/m.test(text)) problems.push(`${path} imports a shared memory`);
  } else if (waits === 0) problems.push(`${path} never waits: the check of its waits checks nothing`);
  if (binary.length > bytes) problems.push(`${path} has ${binary.length} bytes, more than ${bytes}`);
  module.dispose();
  return problems;
}

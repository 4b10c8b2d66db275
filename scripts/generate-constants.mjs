// Turns the exported globals of the constants module into TypeScript: the other language's copy of offsets, bits and
// enums, so that each is written once (in assembly/) and this copy can be checked at every build.
import { readFile } from "node:fs/promises";

const literal = (value) =>
  typeof value === "bigint"
    ? `0x${BigInt.asUintN(64, value).toString(16)}n`
    : Math.abs(value) < 1024
      ? String(value)
      : `0x${(value >>> 0).toString(16)}`;

/** @param {string} path the constants module; @returns {Promise<string>} the text of src/core/layout.generated.ts */
export async function generateConstants(path) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(await readFile(path)), {
    env: { memory },
  });
  const constants = [];
  const enums = new Map();
  for (const [name, global] of Object.entries(exports)) {
    if (!(global instanceof WebAssembly.Global)) continue;
    const [owner, member] = name.split(".");
    if (member === undefined) constants.push(`export const ${name} = ${literal(global.value)};`);
    else if (enums.has(owner)) enums.get(owner).push([member, global.value]);
    else enums.set(owner, [[member, global.value]]);
  }
  const lines = [
    "// Generated from assembly/ by `npm run build:core -- --write`; the build fails where it differs. Do not edit.",
    "",
    ...constants.sort(),
  ];
  for (const [owner, members] of [...enums].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push("", `export const ${owner} = {`);
    for (const [member, value] of members) lines.push(`  ${member}: ${literal(value)},`);
    lines.push(`} as const;`, `export type ${owner} = (typeof ${owner})[keyof typeof ${owner}];`);
  }
  return lines.join("\n") + "\n";
}

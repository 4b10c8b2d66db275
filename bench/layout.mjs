// The core's constants as a C header, from the TypeScript copy that the build of the core checks.

/** @param {Record<string, unknown>} layout the exports of dist/core/layout.generated.js; @returns {string} */
export function layoutHeader(layout) {
  const lines = ["// Generated from dist/core/layout.generated.js by bench/layout.mjs.", "#pragma once"];
  const literal = (value) => (typeof value === "bigint" ? `0x${value.toString(16)}ull` : String(value));
  for (const [name, value] of Object.entries(layout)) {
    if (typeof value === "number" || typeof value === "bigint")
      lines.push(`#define ${name} ${literal(value)}`);
    else
      for (const [member, number] of Object.entries(value))
        lines.push(`#define ${name}_${member} ${literal(number)}`);
  }
  return lines.join("\n") + "\n";
}

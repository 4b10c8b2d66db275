// Collects, while the constants module is compiled, where the compiler puts the fields of the layout's classes, and
// writes them as TypeScript: names of addresses come from here, so that a moved field renames itself.
import { ElementKind } from "assemblyscript";

const LAYOUT = "assembly/layout/";

export class FieldTable {
  #program;
  /** @type {Map<string, { size: number, fields: { name: string, offset: number, size: number }[] }>} */
  classes = new Map();

  afterInitialize(program) {
    this.#program = program;
  }

  afterCompile() {
    for (const [path, element] of this.#program.elementsByName) {
      if (!path.startsWith(LAYOUT) || element.kind !== ElementKind.ClassPrototype) continue;
      for (const instance of element.instances?.values() ?? []) this.#take(instance);
    }
  }

  #take(instance) {
    const fields = [];
    for (const member of instance.members?.values() ?? []) {
      const field = member.kind === ElementKind.PropertyPrototype ? member.instance : null;
      if (!field || field.memoryOffset < 0) continue;
      fields.push({ name: field.name, offset: field.memoryOffset, size: field.type.byteSize });
    }
    // Classes that only group functions have no fields.
    if (fields.length > 0) {
      const size = instance.nextMemoryOffset;
      this.classes.set(instance.name, { size, fields: fields.sort((a, b) => a.offset - b.offset) });
    }
  }

  /** @returns {string} the text of src/core/fields.generated.ts */
  text() {
    const lines = [
      "// Generated from assembly/layout/ by `npm run build:core -- --write`; the build fails where it differs. Do not edit.",
      "",
      "/** One field of a structure of the machine's memory: offset and size in bytes. */",
      "export interface Field {",
      "  readonly name: string;",
      "  readonly offset: number;",
      "  readonly size: number;",
      "}",
      "",
      "export const FIELDS = {",
    ];
    for (const [name, { size, fields }] of [...this.classes].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push(`  ${name}: {`, `    size: ${size},`, "    fields: [");
      for (const field of fields) {
        lines.push(`      { name: "${field.name}", offset: ${field.offset}, size: ${field.size} },`);
      }
      lines.push("    ],", "  },");
    }
    lines.push("} as const satisfies Record<string, { size: number; fields: readonly Field[] }>;");
    lines.push("export type Structure = keyof typeof FIELDS;");
    return lines.join("\n") + "\n";
  }
}

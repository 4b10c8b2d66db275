// Which function of the core's sources a line belongs to: inlining makes the compiler's own answer useless.
import { readFile, readdir } from "node:fs/promises";
import ts from "typescript";

/** Name of a function-like node: `f`, or `Class.f` for a method. */
function nameOf(node) {
  const own = node.name?.getText() ?? "";
  return ts.isClassLike(node.parent) ? `${node.parent.name?.getText() ?? ""}.${own}` : own;
}

/** Resolves to `(file, line) => name`: the innermost function there, undefined if there is none. */
export async function enclosingFunctions() {
  const files = (await readdir("assembly", { recursive: true })).filter((file) => file.endsWith(".ts"));
  const spans = new Map();
  for (const file of files) {
    const path = `assembly/${file.replaceAll("\\", "/")}`;
    const source = ts.createSourceFile(path, await readFile(path, "utf8"), ts.ScriptTarget.ESNext, true);
    const found = [];
    const visit = (node) => {
      if (ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node) || ts.isAccessor(node)) {
        const line = (at) => source.getLineAndCharacterOfPosition(at).line + 1;
        found.push({ first: line(node.getStart()), last: line(node.end), name: nameOf(node) });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    spans.set(path, found);
  }
  return (file, line) => {
    const inside = (spans.get(file) ?? []).filter(({ first, last }) => line >= first && line <= last);
    return inside.sort((a, b) => a.last - a.first - (b.last - b.first))[0]?.name;
  };
}

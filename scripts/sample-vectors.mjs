// Writes test/data/vectors-sample.txt.gz: of each file of vectors a few lines, chosen evenly from each (category, access,
// outcome), the rare ones first; the disputed lines all. Usage: node scripts/sample-vectors.mjs FOLDER-OF-VECTORS
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

/** Lines to take; Infinity: all. */
const FILES = {
  "paging-4level": 950,
  "paging-5level": 350,
  "paging-pks": 250,
  "paging-pcid": 200,
  "paging-no1g": 200,
  "paging-cross": 250,
  ept: 800,
  npt: 450,
  "paging-4level-disputed": Infinity,
  "paging-5level-disputed": Infinity,
  "paging-pks-disputed": Infinity,
  "paging-pcid-disputed": Infinity,
  "ept-disputed": Infinity,
};

/** Category, access and outcome of a line; of a page-crossing access both outcomes. */
function groupOf(line) {
  const fields = line.split(" ");
  if (fields.length === 12) return `${fields[0]} ${fields[1]} ${fields[7].split(":")[0]}`;
  if (fields[0] === "cross")
    return fields
      .slice(8, 10)
      .map((part) => part.split(":")[0])
      .join("+");
  return `${fields[0]} ${fields[1]} ${fields[8]} ${fields[8] === "pf" ? fields[9] : ""}`;
}

/** Spreads `want` over groups, smallest first: each gets an equal share of what is left, or all that it has. */
function choose(lines, want) {
  if (lines.length <= want) return lines;
  const groups = new Map();
  for (const line of lines) {
    const group = groups.get(groupOf(line));
    if (group) group.push(line);
    else groups.set(groupOf(line), [line]);
  }
  const ordered = [...groups.values()].sort((a, b) => a.length - b.length);
  const chosen = new Set();
  ordered.forEach((group, i) => {
    const share = Math.min(group.length, Math.ceil((want - chosen.size) / (ordered.length - i)));
    for (let k = 0; k < share; k++) chosen.add(group[Math.floor((k * group.length) / share)]);
  });
  return lines.filter((line) => chosen.has(line));
}

const folder = process.argv[2];
if (!folder) {
  console.error("sample-vectors: name the folder that has the vectors (*.txt.gz)");
  process.exit(2);
}
const sample = Object.entries(FILES).flatMap(([name, want]) => {
  const lines = gunzipSync(readFileSync(join(folder, `${name}.txt.gz`)))
    .toString("ascii")
    .trimEnd()
    .split("\n");
  const chosen = choose(lines, want);
  console.log(`${name}: ${chosen.length} of ${lines.length}`);
  return chosen.map((line) => `${name} ${line}`);
});
writeFileSync("test/data/vectors-sample.txt.gz", gzipSync(`${sample.join("\n")}\n`, { level: 9 }));

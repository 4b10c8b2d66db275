// The table of a question, and what was and was not reached.
import { renderTable } from "../dist/report/table.js";

const number = (value) => {
  const digits = value >= 1000 ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\B(?=(\d{3})+$)/g, digits === 0 ? "," : "");
};
const spread = (share) => (share === null ? "" : ` ±${(share * 100).toFixed(0)}%`);
const measured = (figures) => figures && `${number(figures.median)}${spread(figures.spread)}`;
/** Processors that the threads of both sides had, where there were several threads. */
function processors({ core, other }) {
  const had = [core, other].map((side) => side?.processors ?? null);
  if (had[0] === null) return null;
  return had.map((share) => (share === null ? "-" : share.toFixed(2))).join(" / ");
}

function targetText(target) {
  if (!target) return null;
  return target.atMost === undefined ? `>= ${target.atLeast}` : `<= ${target.atMost}`;
}

function verdict({ digest, ratio, context, target, reached, note }) {
  if (digest === "differ") return "DIGESTS DIFFER";
  if (note) return note;
  if (context) return "context only";
  if (!target || !ratio) return null;
  return reached ? "reached" : "not reached";
}

export function printQuestion({ question, says, clock, rows }) {
  console.log(`${question}: ${says} (${clock} time)`);
  if (rows.length === 0) return console.log("  left out\n");
  const threaded = rows.some((row) => processors(row) !== null);
  const cells = rows.map((row) => [
    row.case,
    row.unit,
    measured(row.core),
    measured(row.other),
    ...(threaded ? [processors(row)] : []),
    row.reads,
    row.other && row.ratio && number(row.ratio.median),
    row.ratio && Number.isFinite(row.ratio.high)
      ? `${number(row.ratio.low)} to ${number(row.ratio.high)}`
      : null,
    targetText(row.target),
    verdict(row),
  ]);
  const columns = [
    { header: "case", align: "left" },
    { header: "unit", align: "left" },
    { header: "core", align: "right" },
    { header: "beside", align: "right" },
    ...(threaded ? [{ header: "processors had", align: "right" }] : []),
    { header: "ratio of" },
    { header: "ratio", align: "right" },
    { header: "95 %", align: "right" },
    { header: "target", align: "right" },
    { header: "" },
  ];
  console.log(renderTable(columns, cells, { indent: 2 }));
  for (const { case: name, counts = {} } of rows) {
    const work = Object.entries(counts).map(([what, n]) => `${what} ${n.toLocaleString("en-US")}`);
    if (work.length > 1) console.log(`    ${name}: ${work.join(", ")}`);
  }
  console.log();
}

export function printSummary(results) {
  const rows = results.flatMap(({ question, rows: all }) => all.map((row) => ({ question, ...row })));
  const judged = rows.filter(({ reached }) => reached !== null && reached !== undefined);
  const missed = judged.filter(({ reached }) => !reached);
  console.log(`${judged.length - missed.length} of ${judged.length} targets reached`);
  for (const row of missed) {
    console.log(
      `  not reached: ${row.question}, ${row.case}: ${row.reads} ${number(row.ratio.median)}, target ${targetText(row.target)}`,
    );
  }
}

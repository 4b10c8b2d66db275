/**
 * An execution as one page of HTML that needs nothing else, no network, no script of others: a lane for every actor, time
 * downwards, invalidation windows shaded, arrows between accesses whose order matters, and beside it the state of pages,
 * translations and TLBs at the place that a slider points to. Without scripts it is a table, and the text of `raceTable`.
 */

import { noteInWords, noteName } from "../explore/words.js";
import { rolesOf } from "../explore/names.js";
import { type Trace } from "../explore/trace.js";
import { escape } from "./html.js";
import { conflictsOf, glue, raceTurns, siteInWords, type RaceLine, type Turn } from "./race-lines.js";
import { SCRIPT, STYLE } from "./race-page.js";
import { stateAt, statesTold, type StateKind, type StateRow } from "./race-state.js";
import { END_TITLES, raceTable } from "./race-table.js";

/** Appearance of a race page. */
export interface RaceHtmlOptions {
  /** Every access and event, instead of those that matter. */
  readonly verbose?: boolean;
}

/** The longest run of characters that is kept on one line whatever the width. */
const UNBROKEN_MAX = 32;

/** Text whose parts break apart only where `glue` allows it, with an arrow for `->`. */
function words(text: string): string {
  return glue(text)
    .split(" ")
    .map((word) => {
      const shown = escape(word.replaceAll("->", "\u2192").replaceAll("\u00a0", " "));
      return word.length <= UNBROKEN_MAX ? `<span class="w">${shown}</span>` : shown;
    })
    .join(" ");
}

/** JSON that can stand in a script element: nothing in it ends the element. */
function embed(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A line of the grid: row 1 is the header. */
interface Placed {
  readonly line: RaceLine;
  readonly row: number;
}

/** Rows of the grid in which an invalidation is under way. */
interface Shade {
  readonly from: number;
  readonly to: number;
  readonly kind: "start" | "open";
}

const TONE_CLASS = { window: "window-ev" } as const;

function place(turns: readonly Turn[]): {
  placed: Placed[];
  switches: { row: number; turn: Turn }[];
  end: number;
} {
  const placed: Placed[] = [];
  const switches: { row: number; turn: Turn }[] = [];
  let row = 2;
  turns.forEach((turn, index) => {
    for (const line of turn.lines) placed.push({ line, row: row++ });
    if (index < turns.length - 1) switches.push({ row: row++, turn });
  });
  return { placed, switches, end: row };
}

/** From NotifyStart to NotifyStarted, and from there to NotifyEnd; to the last row if it never comes. */
function shadesOf(trace: Trace, placed: readonly Placed[], end: number): Shade[] {
  const rowAt = (index: number): number => placed.find(({ line }) => line.index >= index)?.row ?? end;
  const shades: Shade[] = [];
  const open = new Map<string, { kind: Shade["kind"]; row: number }>();
  trace.accesses.forEach(({ notes }, index) => {
    for (const { kind, a, b } of notes) {
      const name = noteName(kind);
      if (name !== "NotifyStart" && name !== "NotifyStarted" && name !== "NotifyEnd") continue;
      const key = `${a} ${b}`;
      const before = open.get(key);
      const row = rowAt(index);
      if (before !== undefined)
        shades.push({ from: before.row, to: name === "NotifyEnd" ? row + 1 : row, kind: before.kind });
      if (name === "NotifyEnd") open.delete(key);
      else open.set(key, { kind: name === "NotifyStart" ? "start" : "open", row });
    }
  });
  for (const { kind, row } of open.values()) shades.push({ from: row, to: end, kind });
  return shades.filter(({ from, to }) => to > from);
}

function eventCell(trace: Trace, { line, row }: Placed): string {
  const { actor, text, depth, tone, site, step } = line;
  const name = trace.actors[actor]!.name;
  const inset = Math.min(depth, 3) * 14;
  const style = inset > 0 ? `style="margin-left:${inset}px;width:calc(100% - ${inset}px)" ` : "";
  const toneClass = tone === "window" ? TONE_CLASS.window : tone;
  const where = siteInWords(site);
  const label = `step ${step}, ${name}: ${text}${where ? `, at ${where}` : ""}`;
  return (
    `<div class="row" role="row"><span class="step" role="cell" style="grid-area:${row}/1">${step}</span>` +
    `<span role="cell" style="grid-area:${row}/${actor + 2};z-index:2" data-lane><button type="button" class="ev ${toneClass}" ` +
    `${style}aria-label="${escape(label)}" title="${escape(where)}">${words(text)}</button></span>` +
    `<span class="place" role="cell" style="grid-area:${row}/${trace.actors.length + 2}">${escape(where)}</span></div>`
  );
}

function switchRow(trace: Trace, row: number, turn: Turn): string {
  const { name } = trace.actors[turn.actor]!;
  const where =
    turn.next === undefined ? "does not run again" : `stops before ${siteInWords(turn.next.site)}`;
  return (
    `<div class="row" role="row"><span class="switch" role="cell" style="grid-area:${row}/1/auto/-1">` +
    `${escape(name)} ${escape(where)}</span></div>`
  );
}

/** Accesses and switches in the order of time, as they are read aloud. */
function rows(
  trace: Trace,
  placed: readonly Placed[],
  switches: readonly { row: number; turn: Turn }[],
): string[] {
  const cells = [
    ...placed.map((item) => ({ row: item.row, html: eventCell(trace, item) })),
    ...switches.map(({ row, turn }) => ({ row, html: switchRow(trace, row, turn) })),
  ];
  return cells.sort((a, b) => a.row - b.row).map(({ html }) => html);
}

function grid(trace: Trace, turns: readonly Turn[]): string {
  const { placed, switches, end } = place(turns);
  const actors = trace.actors.length;
  const violated = trace.end.kind !== "done";
  const last = end + (violated ? 1 : 0);
  const out = [
    `<div class="grid" role="table" aria-label="Accesses in the order in which they happened" ` +
      `style="grid-template-columns:max-content repeat(${actors},minmax(0,1fr)) minmax(0,max-content)">`,
    `<div class="head" role="row"><span role="columnheader" style="grid-area:1/1">step</span>`,
    ...trace.actors.map(
      ({ name, kind }, i) =>
        `<span role="columnheader" style="grid-area:1/${i + 2}">${escape(name)} <span class="kind">${escape(kind)}</span></span>`,
    ),
    `<span role="columnheader" style="grid-area:1/${actors + 2}">place</span></div>`,
    ...trace.actors.map((_, i) => `<div class="lane" style="grid-area:2/${i + 2}/${last}/${i + 3}"></div>`),
    ...shadesOf(trace, placed, end).map(
      ({ from, to, kind }) => `<div class="shade ${kind}" style="grid-area:${from}/1/${to}/-1"></div>`,
    ),
    ...rows(trace, placed, switches),
  ];
  if (violated) {
    const actor = trace.accesses.at(-1)?.actor ?? 0;
    const text = `${END_TITLES[trace.end.kind]}${trace.end.name ? `: ${trace.end.name}` : ""}`;
    out.push(
      `<div class="row" role="row"><span role="cell" style="grid-area:${end}/${actor + 2};z-index:2">` +
        `<div class="ev end">${escape(text)}</div></span></div>`,
    );
  }
  out.push(`<svg class="arrows" aria-hidden="true"></svg></div>`);
  return out.join("\n");
}

const STATE_TITLES: Readonly<Record<StateKind, string>> = {
  window: "Invalidations",
  page: "Pages",
  pte: "Host page table",
  spte: "Secondary MMU",
  tlb: "TLB",
};

function stateTables(rows: readonly StateRow[], index: number): string {
  const kinds = [...new Set(rows.map(({ kind }) => kind))];
  return kinds
    .map((kind) => {
      const body = rows.flatMap((row, i) => {
        if (row.kind !== kind) return [];
        const value = stateAt(row, index);
        return [
          `<tr><th scope="row">${escape(row.name)}</th><td id="s${i}">${escape(value === "" ? "none" : value)}</td></tr>`,
        ];
      });
      return `<h2>${STATE_TITLES[kind]}</h2><table aria-label="${STATE_TITLES[kind]}">${body.join("")}</table>`;
    })
    .join("\n");
}

/** What the details say of a line besides its own text. */
function moreOf(
  trace: Trace,
  line: RaceLine,
  reading: { layout: Trace["layout"]; roles: ReturnType<typeof rolesOf> },
): string[] {
  const access = trace.accesses[line.index]!;
  const order = access.site.atomic ? "atomic" : "plain";
  const about = `${order} ${access.site.kind}, ${access.size} byte${access.size === 1 ? "" : "s"} at 0x${access.address.toString(16)}`;
  const told = access.notes.map((event) => noteInWords(reading, event)).filter((text) => text !== line.text);
  return line.site === undefined ? told : [about, ...told];
}

function facts(trace: Trace): string {
  const list = [
    ["scenario", trace.scenario],
    ["profile", trace.profile],
    ["memory model", trace.model],
    ["without", trace.rulesOff.join(", ")],
    ["switches", String(trace.switches)],
    ["accesses", String(trace.accesses.length)],
  ];
  return list
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `<span>${name} <b>${escape(value!)}</b></span>`)
    .join("\n");
}

/** Renders an execution as a page. */
export function raceHtml(trace: Trace, options: RaceHtmlOptions = {}): string {
  const turns = raceTurns(trace, options.verbose ?? false);
  const lines = turns.flatMap((turn) => turn.lines);
  const state = statesTold(trace, lines);
  const reading = { layout: trace.layout, roles: rolesOf(trace) };
  const lineOf = new Map<number, number>();
  lines.forEach(({ index }, k) => lineOf.set(index, lineOf.get(index) ?? k));
  const data = {
    lines: lines.map((line) => ({
      index: line.index,
      step: line.step,
      actor: trace.actors[line.actor]!.name,
      text: line.text,
      place: line.site === undefined ? "" : `${line.site.file}:${line.site.line} ${line.site.function}`,
      more: moreOf(trace, line, reading),
    })),
    state: state.map(({ initial, changes }) => ({ initial, changes })),
    conflicts: conflictsOf(trace, new Set(lineOf.keys())).map(({ from, to }) => ({
      from: lineOf.get(from)!,
      to: lineOf.get(to)!,
    })),
  };
  const title = `${END_TITLES[trace.end.kind]}${trace.end.name ? ` ${trace.end.name}` : ""}: ${trace.scenario}`;
  const heading = `<span class="${trace.end.kind === "done" ? "" : "bad"}">${END_TITLES[trace.end.kind]}</span>`;
  const text = escape(raceTable(trace));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${heading} ${escape(trace.end.name)}</h1>
<p class="facts">${facts(trace)}</p>
${trace.end.says === "" ? "" : `<p class="says">${escape(trace.end.says)}</p>`}
</header>
<main>
<section class="time" aria-label="Timeline">
${grid(trace, turns)}
</section>
<aside aria-label="State">
<div class="js"><label for="slider">Step through</label>
<input id="slider" type="range" min="0" max="${lines.length - 1}" value="${lines.length - 1}">
<p class="keys">Arrow keys, Home and End move through the accesses.</p>
<div id="detail" aria-live="polite"></div></div>
<noscript><p class="keys">State at the end. With scripts enabled, a slider steps through the accesses.</p></noscript>
${stateTables(state, lines.at(-1)?.index ?? 0)}
</aside>
</main>
<footer>
<details><summary>As text</summary><pre>${text}</pre></details>
<p>Repeat it: <code>${escape(trace.repeat)}</code></p>
</footer>
<script type="application/json" id="race">${embed(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

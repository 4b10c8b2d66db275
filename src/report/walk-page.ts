/**
 * A walk as one page of HTML that needs nothing else, no network and no script: the address split into its indices, each
 * table with the entry taken, flags in words, rights narrowing level by level; of a nested walk the grid of guest level
 * and nested level with its references in their order.
 */

import { PTE_ADDRESS } from "../core/layout.generated.js";
import { usageError } from "../errors.js";
import { hex } from "../machine/address.js";
import { checkOptions, show } from "../machine/arguments.js";
import { type Translation } from "../machine/translation.js";
import { html, type Markup } from "./html.js";
import {
  addressFigure,
  entryCard,
  ghostCard,
  gpaFigure,
  gridFigure,
  pageCard,
  type Figures,
} from "./walk-figures.js";
import {
  modelOf,
  pageOf,
  offsetMask,
  type Reference,
  type Row,
  type Settings,
  type WalkContext,
  type WalkModel,
} from "./walk-model.js";
import { ENTRY_NAMES } from "./walk-names.js";
import { accumulate } from "./walk-rights.js";
import { errorCodeOf, guestReasons, nestedReasons } from "./walk-reasons.js";
import { STYLE } from "./walk-style.js";
import { accessInWords, explain, type Explanation } from "./walk-words.js";

/** What a page may say besides the walk itself. */
export interface WalkPageOptions {
  /** Where the walk is from, in a line: an image's name, a machine. */
  readonly title?: string;
  /** The command that draws this page again. */
  readonly repeat?: string;
}

/** Level at which the guest's dimension maps a page; 1 where the walk did not get so far. */
const leafLevel = (references: readonly Reference[]): number =>
  references.at(-1)?.leaf ? references.at(-1)!.level : 1;

/** Where an address lies in the page of a leaf. */
const throughLeaf = (leaf: Reference, address: bigint): bigint =>
  pageOf(leaf) | (address & offsetMask(leaf.level));

function addressSection({ gva, settings, guest }: WalkModel): Markup {
  const { levels } = settings;
  const figure = addressFigure(gva, levels, leafLevel(guest));
  return html`<section aria-labelledby="address">
    <h2 id="address">The address</h2>
    <p>
      gva <code>${hex(gva)}</code>, ${levels === 0 ? "without paging" : `split for ${levels}-level paging`}
    </p>
    ${figure}
  </section> `;
}

/** What was looked for where the walk ended, if it was not read; null if the walk ended at an entry. */
function endCard({ end, rows, result, settings }: WalkModel): Markup | null {
  if (end === null) return null;
  const { row, column } = end;
  const at = rows.find(({ level }) => level === row);
  const read = column === 0 ? at?.guest : at?.nested.some(({ level }) => level === column);
  if (read) return null;
  const level = column === 0 ? row : column;
  const nested = settings.nested?.format === "ept" ? "EPT " : "nested ";
  const name = level === 0 ? "page" : `${column === 0 ? "" : nested}${ENTRY_NAMES[level]}`;
  const says =
    result.kind === "missing"
      ? `It lies at ${hex(result.hpa)}, which is not in the memory that was given.`
      : "It was not read.";
  return ghostCard(name, level, says, true);
}

/** Entries of the guest in tables that are physical, one after the other. */
function chainSection(figures: Figures): Markup {
  const { model } = figures;
  const { settings, guest, result } = model;
  const last = guest.at(-1) ?? null;
  const cards = guest.map((reference) => entryCard(figures, reference));
  const end = endCard(model);
  if (end) cards.push(end);
  const rest = last?.leaf ? 0 : (last ? last.level - 1 : settings.levels) - (end ? 1 : 0);
  for (let level = rest; level > 0; level--)
    cards.push(ghostCard(ENTRY_NAMES[level]!, level, "not reached", false));
  if (result.kind === "ok") cards.push(pageCard(last, result.hpa, "physical address"));
  const intro =
    settings.levels === 0
      ? "There are no tables to walk: CR0.PG is clear."
      : html`CR3 gives the first table, at <code>${hex(settings.cr3 & PTE_ADDRESS)}</code>; each entry the
          next table, or the page.`;
  return html`<section aria-labelledby="walk">
    <h2 id="walk">The walk</h2>
    <p>${intro}</p>
    <ol role="list" class="chain" style="--n:${cards.length}">
      ${cards}
    </ol>
  </section> `;
}

/** One guest level of a nested walk: the nested walk of its address, and the guest's entry. */
function rowSection(figures: Figures, row: Row): Markup {
  const { model } = figures;
  const { levels } = model.settings.nested!;
  const below = row.nested.at(-1);
  const name = row.level === 0 ? "The page" : `Guest level ${row.level}: the ${ENTRY_NAMES[row.level]}`;
  const cards = row.nested.map((reference) => entryCard(figures, reference));
  const hpa = below?.leaf ? throughLeaf(below, row.address) : null;
  if (row.guest) cards.push(entryCard(figures, row.guest, hpa));
  else if (model.result.kind === "ok" && below) cards.push(pageCard(below, model.result.hpa, "hpa"));
  const end = model.end?.row === row.level ? endCard(model) : null;
  return html`<section aria-labelledby="row${row.level}">
    <h3 id="row${row.level}">
      ${name} <span>at gpa <code>${hex(row.address)}</code></span>
    </h3>
    ${gpaFigure(row.address, levels, leafLevel(row.nested))}
    <ol role="list" class="chain" style="--n:${levels + 1}">
      ${cards}${end}
    </ol>
  </section> `;
}

function nestedSections(figures: Figures): Markup {
  const { model } = figures;
  const { levels, nested } = model.settings;
  const most = (levels + 1) * (nested!.levels + 1) - 1;
  return html`<section aria-labelledby="walk">
      <h2 id="walk">The walk in two dimensions</h2>
      <p>
        Each entry of the guest lies at a guest-physical address, which takes a nested walk of its own:
        ${model.references.length} of at most ${most} references were made. The numbers are their order, row
        by row; each leads to the entry below.
      </p>
      ${gridFigure(figures)}
    </section>
    <section aria-labelledby="entries">
      <h2 id="entries">The entries</h2>
      ${model.rows.map((row) => rowSection(figures, row))}
    </section> `;
}

// --- What other accesses would meet.

const OTHERS = [
  ["read", { reads: true, writes: false, fetches: false }],
  ["write", { reads: false, writes: true, fetches: false }],
  ["instruction fetch", { reads: false, writes: false, fetches: true }],
] as const;

/** What an access of another kind meets in the same entries. */
function verdictOn(
  model: WalkModel,
  settings: Settings,
): { readonly says: string; readonly allowed: boolean } {
  const other = { ...model, settings };
  const reasons = guestReasons(other);
  if (reasons.length > 0) return { says: `#PF ${hex(errorCodeOf(settings, reasons))}`, allowed: false };
  const row = model.rows.at(-1);
  const nested = settings.nested && row ? nestedReasons(other, row) : null;
  if (!nested || nested.reasons.length === 0) return { says: "allowed", allowed: true };
  return { says: settings.nested!.format === "ept" ? "EPT violation" : "nested fault", allowed: false };
}

/** True if the entries say something of every access: each dimension maps a page in the end. */
function isComplete({ settings, guest, rows }: WalkModel): boolean {
  const last = rows.at(-1);
  if (settings.nested) return last?.level === 0 && (last.nested.at(-1)?.leaf ?? false);
  return settings.levels === 0 || (guest.at(-1)?.leaf ?? false);
}

function othersSection(model: WalkModel): Markup | null {
  if (!isComplete(model)) return null;
  const { settings } = model;
  const lines = [false, true].map((user) => {
    const cells = OTHERS.map(([, kind]) => {
      const { says, allowed } = verdictOn(model, {
        ...settings,
        ...kind,
        user,
        implicit: false,
        cpl: user ? 3 : 0,
      });
      const own =
        !settings.implicit &&
        user === settings.user &&
        kind.reads === settings.reads &&
        kind.writes === settings.writes &&
        kind.fetches === settings.fetches;
      return html`<td class="${allowed ? "yes" : "no"}">
        ${says}${own ? html` <small>this access</small>` : null}
      </td>`;
    });
    return html`<tr>
      <th scope="row">${user ? "user mode" : "supervisor mode"}</th>
      ${cells}
    </tr> `;
  });
  return html`<section aria-labelledby="others">
    <h2 id="others">Other accesses through the same entries</h2>
    <table class="others">
      <thead>
        <tr>
          <td></td>
          ${OTHERS.map(([name]) => html`<th scope="col">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${lines}
      </tbody>
    </table>
  </section> `;
}

// --- The control state.

function controls({ settings: s }: WalkModel): readonly (readonly [string, string, string])[] {
  const flag = (on: boolean): string => (on ? "1" : "0");
  const list: [string, string, string][] = [
    ["CR0.PG", flag(s.levels > 0), s.levels > 0 ? "paging is on" : "paging is off"],
    ["CR3", hex(s.cr3), "where the first table lies"],
    ["CR4.LA57", flag(s.levels === 5), s.levels === 5 ? "5-level paging" : "4-level paging"],
    ["CPL", String(s.cpl), s.cpl === 3 ? "user mode" : "supervisor mode"],
    [
      "CR0.WP",
      flag(s.wp),
      s.wp ? "R/W binds the supervisor too" : "the supervisor may write read-only pages",
    ],
    ["CR4.SMEP", flag(s.smep), s.smep ? "the supervisor may not fetch from user pages" : "off"],
    ["CR4.SMAP", flag(s.smap), s.smap ? "the supervisor may not touch data in user pages" : "off"],
    ["RFLAGS.AC", flag(s.ac), s.ac ? "lifts SMAP for explicit accesses" : "does not lift SMAP"],
    ["EFER.NXE", flag(s.nxe), s.nxe ? "XD forbids instruction fetches" : "XD is reserved"],
    ["MAXPHYADDR", String(s.maxphyaddr), `address bits from ${s.maxphyaddr} on are reserved`],
  ];
  if (s.pke) list.push(["PKRU", hex(s.pkru), "CR4.PKE is set: keys of user pages"]);
  if (s.pks) list.push(["IA32_PKRS", hex(s.pkrs), "CR4.PKS is set: keys of supervisor pages"]);
  if (s.nested) {
    const { root, levels, format, keepsFlags, mbec, nxe } = s.nested;
    const ept = format === "ept";
    list.push([ept ? "EPT" : "nCR3", hex(root), `nested tables of ${levels} levels`]);
    if (ept)
      list.push([
        "EPTP bit 6",
        flag(keepsFlags),
        keepsFlags ? "accessed and dirty flags for EPT" : "no flags",
      ]);
    if (ept)
      list.push(["execute control", flag(mbec), mbec ? "mode-based: X and XU" : "X for all addresses"]);
    if (!ept) list.push(["host EFER.NXE", flag(nxe), nxe ? "XD of nested entries counts" : "XD is reserved"]);
  }
  return list;
}

function controlSection(model: WalkModel): Markup {
  const items = controls(model).map(
    ([name, value, says]) =>
      html`<div>
        <dt>${name} <code>${value}</code></dt>
        <dd>${says}</dd>
      </div> `,
  );
  return html`<section aria-labelledby="controls">
    <h2 id="controls">What governed it</h2>
    <dl class="controls">${items}</dl>
  </section> `;
}

function header(model: WalkModel, { outcome, sentence }: Explanation, title: string): Markup {
  const bad = model.result.kind !== "ok";
  const access = accessInWords(model);
  return html`<header>
    ${title === "" ? null : html`<p class="from">${title}</p>`}
    <h1>${access.charAt(0).toUpperCase()}${access.slice(1)}</h1>
    <p class="verdict ${bad ? "bad" : "good"}"><strong>${outcome}</strong> ${sentence}</p>
  </header> `;
}

/**
 * Renders a walk as a page: complete HTML, to be written to a file or shown in a frame. What comes from the walk or the
 * caller is escaped. Error: `USAGE`.
 */
export function walkPage(
  translation: Translation,
  context: WalkContext,
  options: WalkPageOptions = {},
): string {
  checkOptions("options of walkPage", options, ["title", "repeat"]);
  const { title = "", repeat = "" } = options;
  for (const [name, text] of Object.entries({ title, repeat }))
    if (typeof text !== "string")
      throw usageError(`The ${name} of a walk's page is ${show(text)}.`, "Pass a string.");
  const model = modelOf(translation, context);
  const explanation = explain(model);
  const figures: Figures = { model, rights: accumulate(model), reasons: explanation.reasons };
  const access = accessInWords(model);
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        />
        <link rel="icon" href="data:," />
        <title>${`${access}: ${explanation.outcome}`}</title>
        <style>
          ${STYLE}
        </style>
      </head>
      <body>
        ${header(model, explanation, title)}
        <main>
          ${addressSection(model)}${model.settings.nested ? nestedSections(figures) : chainSection(figures)}${othersSection(
            model,
          )}${controlSection(model)}
        </main>
        ${
          repeat === ""
            ? null
            : html`<footer>
                <p>Repeat it: <code>${repeat}</code></p>
              </footer> `
        }
      </body>
    </html>`;
  return `${page.text}\n`;
}

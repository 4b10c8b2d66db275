/** Figures of a walk: an address as bit fields, an entry in its table, the grid of a nested walk. */

import { PTE_ADDRESS } from "../core/layout.generated.js";
import { hex } from "../machine/address.js";
import { html, type Markup } from "./html.js";
import { entryName, fieldsOf, targetOf } from "./walk-flags.js";
import {
  entryAddress,
  indexAt,
  levelShift,
  offsetMask,
  pageOf,
  type Place,
  type Reference,
  type Row,
  type WalkModel,
} from "./walk-model.js";
import { bitsInWords, ENTRY_NAMES, PAGE_SIZES } from "./walk-names.js";
import { isNonCanonical, type Reason } from "./walk-reasons.js";
import { rightsOf, type Rights } from "./walk-rights.js";

/** What the figures of one walk have in common. */
export interface Figures {
  readonly model: WalkModel;
  /** Rights after each reference. */
  readonly rights: readonly Rights[];
  readonly reasons: readonly Reason[];
}

// --- An address, split.

interface AddressField {
  readonly high: number;
  readonly low: number;
  /** Colour: "l4" for the index in a table of level 4, "l0" for the offset. */
  readonly tone: string;
  readonly says: string;
}

/** Indices of an address in tables of `levels`, down to the level that maps the page, and the offset in the page. */
function indices(address: bigint, levels: number, leaf: number): AddressField[] {
  const fields: AddressField[] = [];
  for (let level = levels; level >= leaf; level--) {
    const low = levelShift(level);
    const says = `${ENTRY_NAMES[level]} ${indexAt(level, address)}`;
    fields.push({ high: low + 8, low, tone: `l${level}`, says });
  }
  fields.push({ high: levelShift(leaf) - 1, low: 0, tone: "l0", says: "offset" });
  return fields;
}

function fieldFigure(address: bigint, { high, low, tone, says }: AddressField, bits: boolean): Markup {
  const width = high - low + 1;
  const value = (address >> BigInt(low)) & ((1n << BigInt(width)) - 1n);
  const all = html`<span class="bits">${value.toString(2).padStart(width, "0")}</span>`;
  return html`<li class="${tone}" style="--bits:${width}">
    <span class="range">${high}:${low}</span>${bits ? all : null}<span class="hex">${hex(value)}</span
    ><span class="says">${says}</span>
  </li>`;
}

/** A linear address as bit fields, each bit of it: for paging of `levels`, 0 for none. */
export function addressFigure(address: bigint, levels: number, leaf: number): Markup {
  if (levels === 0) {
    const whole = { high: 63, low: 0, tone: "l0", says: "the physical address" };
    return html`<ol role="list" class="address">
      ${fieldFigure(address, whole, true)}
    </ol> `;
  }
  const low = levelShift(levels + 1);
  const wrong = isNonCanonical(levels, address);
  const says = `${wrong ? "not all" : "all"} as bit ${low - 1}`;
  const fields = [{ high: 63, low, tone: wrong ? "wrong" : "high", says }, ...indices(address, levels, leaf)];
  return html`<ol role="list" class="address">
    ${fields.map((field) => fieldFigure(address, field, true))}
  </ol> `;
}

/** A guest-physical address as indices above the cards of its nested walk. */
export function gpaFigure(gpa: bigint, levels: number, leaf: number): Markup {
  const fields = indices(gpa, levels, leaf);
  return html`<ol role="list" class="address compact" style="--n:${levels + 1}">
    ${fields.map((field) => fieldFigure(gpa, field, false))}
  </ol> `;
}

// --- An entry in its table.

const RIGHTS: readonly (readonly [keyof Rights, string])[] = [
  ["read", "read"],
  ["write", "write"],
  ["execute", "fetch"],
  ["userExecute", "user fetch"],
  ["user", "user"],
];

/** Each right as it stands after the entry: kept, lost by this entry, or gone since one above. */
function rightsFigure({ model, rights }: Figures, reference: Reference): Markup {
  const after = rights[reference.order - 1]!;
  const own = rightsOf(reference, model.settings.nested?.mbec ?? false);
  const cells = RIGHTS.filter(([right]) => after[right] !== null).map(([right, name]) => {
    const state = after[right] ? "kept" : own[right] ? "gone" : isFirstLoss(model, rights, reference, right);
    return html`<li class="${state}"><b>${name}</b> <span>${state}</span></li>`;
  });
  return html`<ul role="list" class="rights" aria-label="Rights after this entry">
    ${cells}
  </ul>`;
}

/** "lost" if the entries above in the same walk still left the right, "gone" if they did not. */
function isFirstLoss(
  { references }: WalkModel,
  rights: readonly Rights[],
  { dimension, order, row }: Reference,
  right: keyof Rights,
): "lost" | "gone" {
  const above = references.filter(
    (other) =>
      other.order < order && other.dimension === dimension && (dimension === "guest" || other.row === row),
  );
  const before = above.at(-1);
  return !before || rights[before.order - 1]![right] ? "lost" : "gone";
}

/** The 16 digits of an entry, in three parts at bits 52 and 12. */
function digits(entry: bigint): Markup {
  const text = entry.toString(16).padStart(16, "0");
  return html`<span class="value"
    ><span>0x</span><span>${text.slice(0, 3)}</span><b>${text.slice(3, 13)}</b
    ><span>${text.slice(13)}</span></span
  >`;
}

/** Flags of an entry in words. What decides about the access is marked; reserved bits that are set are added. */
function flagsFigure({ model, reasons }: Figures, reference: Reference): Markup {
  const here = reasons.filter(({ at }) => at.includes(reference));
  const deciding = here.reduce((bits, reason) => bits | reason.bits, 0n);
  const fields = fieldsOf(reference, model.settings);
  const items = fields.map(({ name, value, says, mask }) => {
    const decides = (mask & deciding) !== 0n;
    return html`<li class="${decides ? "decides" : "plain"}">
      <b>${name}</b> <i>${value}</i> <span>${says}${decides ? html` <em>decides</em>` : null}</span>
    </li>`;
  });
  const named = fields.reduce((bits, { mask }) => bits | mask, 0n);
  const reserved = deciding & reference.entry & ~named;
  const extra =
    reserved === 0n
      ? null
      : html`<li class="decides">
          <b>${bitsInWords(reserved).replace(/^bits? /, "")}</b> <i>1</i>
          <span>reserved, has to be 0 <em>decides</em></span>
        </li>`;
  return html`<ul role="list" class="flags" aria-label="Flags">
    ${items}${extra}
  </ul>`;
}

/** Where an entry leads, in words and as an address. */
function leadsTo(model: WalkModel, reference: Reference, ends: boolean): Markup {
  if (ends) return html`<p class="leads ends">The walk ends here.</p>`;
  const target = targetOf(reference, model.settings.nested?.mbec ?? false);
  const address = reference.leaf ? pageOf(reference) : reference.entry & PTE_ADDRESS;
  return html`<p class="leads">${target ?? "nothing"} at <code>${hex(address)}</code></p>`;
}

/** True if the walk ended at what this reference read. */
export function endsAt(end: Place | null, { row, dimension, level }: Reference): boolean {
  return end !== null && end.row === row && end.column === (dimension === "guest" ? 0 : level);
}

/** Numerals in a drawn page or table, and the place of one of them. */
function drawing(place: number, most: number, label: string, last: string): Markup {
  return html`<div class="table" aria-hidden="true">
    <span>0</span>
    <div style="flex:${place}"></div>
    <b>${label}</b>
    <div style="flex:${most - place}"></div>
    <span>${last}</span>
  </div>`;
}

/** The table that an entry lies in, with the place of the entry; where the entry lies and what is in it. */
export function entryCard(figures: Figures, reference: Reference, hpa: bigint | null = null): Markup {
  const { model } = figures;
  const { order, level, index, dimension } = reference;
  const nested = model.settings.nested !== null;
  const ends = endsAt(model.end, reference);
  const space = !nested ? "at" : dimension === "guest" ? "at gpa" : "at hpa";
  return html`<li class="card ${dimension} l${level}${ends ? " end" : ""}" id="r${order}">
    <h4><span class="order">${order}</span> ${entryName(reference)} <small>level ${level}</small></h4>
    <div class="place">
      ${drawing(index, 511, String(index), "511")}
      <dl>
        <dt>entry</dt>
        <dd>${index} <small>${hex(index)}</small></dd>
        <dt>${space}</dt>
        <dd><code>${hex(entryAddress(reference))}</code></dd>
        ${
          hpa === null
            ? null
            : html`<dt>at hpa</dt>
                <dd><code>${hex(hpa)}</code></dd>`
        }
      </dl>
    </div>
    <dl class="word">
      <dt>value</dt>
      <dd><code>${digits(reference.entry)}</code></dd>
    </dl>
    ${flagsFigure(figures, reference)} ${leadsTo(model, reference, ends)} ${rightsFigure(figures, reference)}
  </li> `;
}

/** An entry that was not read. */
export function ghostCard(name: string, level: number, says: string, end: boolean): Markup {
  return html`<li class="card ghost l${level}${end ? " end" : ""}">
    <h4>${name} <small>level ${level}</small></h4>
    <p>${says}</p>
  </li> `;
}

/** The page that a walk came to: its address and the offset make the physical address. */
export function pageCard(leaf: Reference | null, address: bigint, space: string): Markup {
  if (!leaf)
    return html`<li class="card page l0">
      <h4>the page</h4>
      <p class="leads">${space} <code class="final">${hex(address)}</code></p>
    </li> `;
  const mask = offsetMask(leaf.level);
  const offset = address & mask;
  // As parts of 512, so that the drawing does not depend on the size of the page.
  const place = Number((offset * 511n) / mask);
  return html`<li class="card page l0">
    <h4>${PAGE_SIZES[leaf.level]!} page</h4>
    <div class="place">
      ${drawing(place, 511, hex(offset), hex(mask))}
      <dl>
        <dt>page</dt>
        <dd><code>${hex(address - offset)}</code></dd>
        <dt>offset</dt>
        <dd><code>${hex(offset)}</code></dd>
      </dl>
    </div>
    <p class="leads">${space} <code class="final">${hex(address)}</code></p>
  </li> `;
}

// --- The grid.

interface Cell {
  readonly tone: string;
  readonly content: Markup;
}

function referenceCell(reference: Reference, ends: boolean): Cell {
  const { order, level, index, dimension } = reference;
  const tone = `ref ${dimension} l${level}${ends ? " end" : ""}`;
  const content = html`<a href="#r${order}"
    ><span class="order">${order}</span> <span class="name">${entryName(reference)}</span>
    <span class="index">${hex(index)}</span> <code>${hex(entryAddress(reference))}</code>${
      ends ? html` <strong>ends here</strong>` : null
    }</a
  >`;
  return { tone, content };
}

/** A cell without a reference: what would be there. */
function emptyCell(place: Place, model: WalkModel, row: Row | undefined): Cell {
  const { end } = model;
  if (end && end.row === place.row && end.column === place.column)
    return { tone: "none end", content: html`<strong>ends here</strong> <span>not read</span>` };
  const leaf = row?.nested.at(-1);
  const large = leaf?.leaf && place.column > 0 && place.column < leaf.level && !endsAt(end, leaf);
  if (large) return { tone: "skip", content: html`<span>not needed: ${PAGE_SIZES[leaf.level]!} page</span>` };
  return { tone: "none", content: html`<span>not reached</span>` };
}

/** Guest levels down, nested levels across: the references of a nested walk in their order. */
export function gridFigure({ model }: Figures): Markup {
  const { settings, rows, guest, result } = model;
  const { levels } = settings.nested!;
  const columns = Array.from({ length: levels }, (_, i) => levels - i);
  const guestLevels = [...Array.from({ length: settings.levels }, (_, i) => settings.levels - i), 0];
  const kind = settings.nested!.format === "ept" ? "EPT" : "nested";
  const large = guest.at(-1)?.leaf ? guest.at(-1)!.level : 0;
  const line = (level: number): Markup => {
    const row = rows.find((one) => one.level === level);
    const name = level === 0 ? "the page" : `guest ${ENTRY_NAMES[level]}`;
    const head = html`<th scope="row">
      <span class="name">${name}</span> ${row ? html`<code>${hex(row.address)}</code>` : null}
    </th>`;
    if (level > 0 && level < large)
      return html`<tr>
        ${head}
        <td class="skip" colspan="${levels + 1}">
          <span>not needed: the guest maps a ${PAGE_SIZES[large]!} page</span>
        </td>
      </tr> `;
    const cells = [...columns, 0].map((column): Cell => {
      const found = column === 0 ? row?.guest : row?.nested.find((one) => one.level === column);
      if (found) return referenceCell(found, endsAt(model.end, found));
      if (level === 0 && column === 0 && result.kind === "ok")
        return { tone: "page", content: html`<span class="name">hpa</span> <code>${hex(result.hpa)}</code>` };
      return emptyCell({ row: level, column }, model, row);
    });
    return html`<tr>
      ${head}${cells.map(({ tone, content }) => html`<td class="${tone}">${content}</td>`)}
    </tr> `;
  };
  return html`<table class="grid">
    <thead>
      <tr>
        <th scope="col">looked for, at gpa</th>
        ${columns.map((level) => html`<th scope="col">${kind} <span>${ENTRY_NAMES[level]!}</span></th>`)}
        <th scope="col">then <span>the entry</span></th>
      </tr>
    </thead>
    <tbody>
      ${guestLevels.map(line)}
    </tbody>
  </table> `;
}

// The page of a walk in a real browser: it needs nothing but itself, is readable in both schemes, narrow, on paper and
// from the keyboard, and shows every reference in the order of the walk.
import { type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { walkPage, type WalkContext } from "../../src/report/index.js";
import type { Translation } from "../../src/machine/translation.js";
import { NestedGuest, registers, Tables, walked, Words } from "../walked.js";
import { missing, Pages, type OpenOptions } from "./browser.js";

const GVA = 0x7f3a_5c21_e678n;
const GPA = 0x1_4af3_d000n;
const USER_RW = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;

/** A nested walk of the guest's levels over those of EPT; with `stopped`, EPT lets the guest's PDE not be written. */
function nested(levels: 4 | 5, stopped = false, eptLevels: 4 | 5 = 4): [Translation, WalkContext] {
  const guest = new NestedGuest({ levels, eptLevels });
  guest.guest.map(GVA, GPA | USER_RW);
  guest.mapNested(GPA, 0x33_4567_8000n);
  if (stopped) guest.ept.change(guest.guest.entry(GVA, 2), 2, (entry) => entry & ~layout.EPT_W);
  const context = guest.context(GVA, "write", { cpl: 3 });
  return [guest.walk(context), context];
}

/** A write to a page that is read-only at two levels. */
function flat(gva = GVA): [Translation, WalkContext] {
  const words = new Words();
  let page = 0n;
  const tables = new Tables(words, { levels: 4, upper: USER_RW, page: () => (page += 0x1000n) });
  tables.map(GVA, 0x12_4af3_d000n | (USER_RW & ~layout.PTE_RW) | layout.PTE_XD);
  tables.change(GVA, 2, (entry) => entry & ~layout.PTE_RW);
  const context: WalkContext = { gva, access: "write", registers: registers({ cr3: tables.root, cpl: 3 }) };
  return [walked(words, context), context];
}

const PAGES: readonly (readonly [string, () => string])[] = [
  ["a walk that faults", () => walkPage(...flat(), { title: "guest.core, CPU 0", repeat: "guestmmu walk" })],
  ["an address that is not canonical", () => walkPage(...flat(1n << 50n))],
  ["a nested walk", () => walkPage(...nested(4))],
  ["a nested walk that EPT stops", () => walkPage(...nested(5, true))],
  ["five levels in both dimensions", () => walkPage(...nested(5, false, 5))],
];

interface Contrast {
  readonly text: string;
  readonly ratio: number;
}

/** Every text on the page, with the contrast of its colour to what is behind it (WCAG 2, relative luminance). */
function contrasts(page: Page): Promise<Contrast[]> {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
    /** A colour over others, as the browser itself paints it: color-mix and all. */
    const painted = (colors: readonly string[]): readonly number[] => {
      canvas.clearRect(0, 0, 1, 1);
      for (const color of colors) {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
      }
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb: readonly number[]): number => {
      const [r, g, b] = rgb.map((part) => {
        const value = part / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      }) as [number, number, number];
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element: Element): string[] => {
      const colors: string[] = [];
      for (let at: Element | null = element; at; at = at.parentElement)
        colors.unshift(getComputedStyle(at).backgroundColor);
      return ["white", ...colors];
    };
    const found: Contrast[] = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.textContent!.trim();
      const element = texts.currentNode.parentElement!;
      if (text === "" || !element.checkVisibility()) continue;
      const ground = behind(element);
      const pair = [
        luminance(painted([...ground, getComputedStyle(element).color])),
        luminance(painted(ground)),
      ].sort((a, b) => b - a) as [number, number];
      found.push({ text, ratio: (pair[0] + 0.05) / (pair[1] + 0.05) });
    }
    return found;
  });
}

describe.skipIf(missing)("the page of a walk", () => {
  let pages: Pages;
  beforeAll(async () => {
    pages = await Pages.launch();
  });
  afterAll(() => pages.close());

  /** Opens a page, and closes it behind the body of a test. */
  async function on<T>(html: string, options: OpenOptions, body: (page: Page) => Promise<T>): Promise<T> {
    const page = await pages.open(html, options);
    try {
      return await body(page);
    } finally {
      await page.close();
    }
  }

  for (const [name, html] of PAGES)
    for (const colorScheme of ["light", "dark"] as const)
      test(`${name}, ${colorScheme}: no request, no complaint, every text stands out`, () =>
        on(html(), { colorScheme }, async (page) => {
          expect(pages.complaints).toEqual([]);
          expect(pages.requests).toEqual([page.url()]);
          const all = await contrasts(page);
          expect(all.length).toBeGreaterThan(50);
          expect(all.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
          const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
          const bright = Number(/\d+/.exec(ground)![0]) > 128;
          expect(bright).toBe(colorScheme === "light");
          expect((await page.screenshot()).length).toBeGreaterThan(10_000);
        }));

  test("the contrast is found where it is low", () =>
    on(`<!doctype html><body style="background:#fff"><p style="color:#999">grey</p>`, {}, async (page) => {
      const [{ ratio }] = (await contrasts(page)) as [Contrast];
      expect(ratio).toBeCloseTo(2.85, 2);
    }));

  test("each page fits its window, each text its box; and paper is white", { timeout: 180_000 }, async () => {
    for (const [name, html] of PAGES)
      for (const width of [1440, 1000, 760, 390, 320])
        await on(html(), { width }, async (page) => {
          const over = await page.evaluate(() => {
            const { scrollWidth, clientWidth } = document.documentElement;
            const outside: string[] = [];
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
              const node = texts.currentNode;
              if (node.textContent!.trim() === "" || !node.parentElement!.checkVisibility()) continue;
              const box = node.parentElement!.closest(".table,.rights li,.card,td,th,.address li,body")!;
              const range = document.createRange();
              range.selectNodeContents(node);
              const { left, right } = box.getBoundingClientRect();
              const out = [...range.getClientRects()].some((r) => r.left < left - 1 || r.right > right + 1);
              if (out) outside.push(node.textContent!.trim());
            }
            return { page: scrollWidth - clientWidth, outside };
          });
          expect(over, `${name}, ${width} pixels wide`).toEqual({ page: 0, outside: [] });
        });
    await on(PAGES[2]![1](), { colorScheme: "dark", width: 700 }, async (page) => {
      await page.emulateMedia({ media: "print", colorScheme: "dark" });
      expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe(
        "rgb(255, 255, 255)",
      );
      expect((await contrasts(page)).filter(({ ratio }) => ratio < 4.5)).toEqual([]);
    });
  });

  test("the grid of a nested walk has a cell for each of its 24 references, in their order", () =>
    on(walkPage(...nested(4)), {}, async (page) => {
      const cells = page.locator(".grid td.ref");
      expect(await cells.count()).toBe(24);
      expect(await cells.locator(".order").allTextContents()).toEqual(
        Array.from({ length: 24 }, (_, i) => String(i + 1)),
      );
      // 5 rows: four for the guest's entries, of 4 nested references and the entry; one for the page, which has no entry.
      const rows = page.locator(".grid tbody tr");
      expect(await rows.count()).toBe(5);
      for (let i = 0; i < 5; i++) expect(await rows.nth(i).locator("td.ref").count()).toBe(i < 4 ? 5 : 4);
      expect(await rows.nth(4).locator("td").last().textContent()).toContain("0x3345678678");
      expect(await page.locator(".card[id]").count()).toBe(24);
      expect(await page.locator(".end").count()).toBe(0);
    }));

  test("with five levels in both dimensions there are 35", () =>
    on(walkPage(...nested(5, false, 5)), {}, async (page) => {
      const numbers = await page.locator(".grid td.ref .order").allTextContents();
      expect(numbers).toEqual(Array.from({ length: 35 }, (_, i) => String(i + 1)));
      expect(await page.locator(".card[id]").count()).toBe(35);
      expect(await page.getByText("35 of at most 35 references were made").count()).toBe(1);
    }));

  test("where a walk ended is marked, in the grid and at the entry, and the rest is said not to be reached", () =>
    on(walkPage(...nested(5, true)), {}, async (page) => {
      // Levels 5 to 3 of the guest, with four nested references each, and the nested walk for the PDE.
      expect(await page.locator(".grid td.ref").count()).toBe(3 * 5 + 4);
      const end = page.locator(".grid td.end");
      expect(await end.count()).toBe(1);
      expect(await end.textContent()).toContain("ends here");
      expect(await page.locator(".card.end").getAttribute("id")).toBe("r19");
      expect(await page.getByText("not reached", { exact: true }).count()).toBe(1 + 2 * 5);
      expect(await page.locator(".flags .decides").allTextContents()).toEqual([
        expect.stringMatching(/W\s+0\s+no writes decides/),
      ]);
    }));

  test("of a walk in one dimension: index, address and value of each entry, and what takes which right", () =>
    on(walkPage(...flat()), {}, async (page) => {
      const [translation] = flat();
      const cards = page.locator(".card[id]");
      expect(await cards.count()).toBe(4);
      for (const [i, { table, index, entry }] of translation.steps.entries()) {
        const text = (await cards.nth(i).innerText()).replace(/\s/g, "");
        expect(text).toContain(`entry${index}0x${index.toString(16)}`);
        expect(text).toContain(`at0x${(table + BigInt(index) * 8n).toString(16)}`);
        expect(text).toContain(`value0x${entry.toString(16).padStart(16, "0")}`);
      }
      const rights = await cards.evaluateAll((all) =>
        all.map((card) => [...card.querySelectorAll(".rights li")].map((li) => li.className)),
      );
      expect(rights).toEqual([
        ["kept", "kept", "kept", "kept"],
        ["kept", "kept", "kept", "kept"],
        ["kept", "lost", "kept", "kept"],
        ["kept", "gone", "lost", "kept"],
      ]);
      expect(await page.locator(".address .says").allTextContents()).toEqual([
        "all as bit 47",
        "PML4E 254",
        "PDPTE 233",
        "PDE 225",
        "PTE 30",
        "offset",
      ]);
      const bits = await page.locator(".address .bits").allTextContents();
      expect(BigInt(`0b${bits.join("")}`)).toBe(GVA);
      expect(await page.locator(".others .yes").count()).toBe(1);
    }));

  test("the keyboard goes through the references in their order, and each leads to its entry", () =>
    on(walkPage(...nested(4)), {}, async (page) => {
      const visited: string[] = [];
      for (let i = 0; i < 24; i++) {
        await page.keyboard.press("Tab");
        visited.push(await page.evaluate(() => document.activeElement!.getAttribute("href") ?? ""));
      }
      expect(visited).toEqual(Array.from({ length: 24 }, (_, i) => `#r${i + 1}`));
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle);
      expect(outline).toBe("solid");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => {
        const box = document.querySelector("#r24")!.getBoundingClientRect();
        return box.top >= 0 && box.bottom <= innerHeight;
      });
      expect(await page.locator(".card:target").getAttribute("id")).toBe("r24");
      // Nothing else takes the focus, and nothing is told by a tooltip alone.
      expect(await page.locator("[title], [tabindex], button, input, script").count()).toBe(0);
    }));

  test("what a screen reader is told: headings, the grid as a table, names of lists", () =>
    on(walkPage(...nested(4)), {}, async (page) => {
      expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe(
        "User-mode write to gva 0x7f3a5c21e678",
      );
      const levels = await page
        .locator("h1,h2,h3,h4")
        .evaluateAll((all) => all.map((h) => Number(h.tagName[1])));
      expect(levels.every((level, i) => i === 0 || level <= levels[i - 1]! + 1)).toBe(true);
      const table = page.getByRole("table").first();
      expect(await table.getByRole("columnheader").count()).toBe(6);
      expect(await table.getByRole("rowheader").count()).toBe(5);
      expect(await page.getByRole("list", { name: "Flags" }).count()).toBe(24);
      expect(await page.getByRole("list", { name: "Rights after this entry" }).count()).toBe(24);
    }));

  test("a title that is HTML stays text", () =>
    on(
      walkPage(...flat(), { title: `</title><img src=x onerror="x()"><b>&amp;`, repeat: "<i>" }),
      {},
      async (page) => {
        expect(pages.complaints).toEqual([]);
        expect(pages.requests).toEqual([page.url()]);
        expect(await page.locator("img, header b").count()).toBe(0);
        expect(await page.locator(".from").textContent()).toBe(`</title><img src=x onerror="x()"><b>&amp;`);
      },
    ));
});

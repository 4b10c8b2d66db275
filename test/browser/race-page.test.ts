// The race page in a real browser: it needs nothing but itself, says what its slider points to, and is readable in the dark.
import { type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { raceHtml } from "../../src/report/race-html.js";
import { sampleTrace } from "../unit/report-race-sample.js";
import { missing, Pages, type OpenOptions } from "./browser.js";

describe.skipIf(missing)("the race page", () => {
  let pages: Pages;
  beforeAll(async () => {
    pages = await Pages.launch();
  });
  afterAll(() => pages.close());
  const open = (html: string, options?: OpenOptions): Promise<Page> => pages.open(html, options);

  const state = (page: Page): Promise<Record<string, string>> =>
    page.$$eval("aside tr", (rows) =>
      Object.fromEntries(
        rows.map((row) => [row.querySelector("th")!.textContent, row.querySelector("td")!.textContent]),
      ),
    );

  test("loads nothing but itself, without a complaint, and draws an arrow for each pair", async () => {
    const page = await open(raceHtml(sampleTrace()));
    expect(pages.complaints).toEqual([]);
    expect(pages.requests).toEqual([page.url()]);
    // One for each word that both touch, and two for the count of page 3, which goes back and forth.
    expect(await page.locator("svg.arrows > path").count()).toBe(7);
    expect(await page.locator("button.ev").count()).toBe(28);
    await page.close();
  });

  test("the slider, the arrow keys and a click show the state at an access", async () => {
    const page = await open(raceHtml(sampleTrace()));
    expect(await state(page)).toEqual({
      "hva 0x7f0000010000 to 0x7f0000014000": "closed",
      "page 3": "free, epoch 1",
      "hva 0x7f0000010000": "none",
      "gfn 0x10": "pfn 3 RWX AD",
      "tlb0 gva 0x10000": "pfn 3 W",
    });
    await page.locator("#slider").fill("1");
    expect(await state(page)).toEqual({
      "hva 0x7f0000010000 to 0x7f0000014000": "closed",
      "page 3": "2 held, epoch 0",
      "hva 0x7f0000010000": "pfn 3 RW- AD",
      "gfn 0x10": "none",
      "tlb0 gva 0x10000": "none",
    });
    expect(await page.locator("#detail").textContent()).toContain("page[3].refcount 1 -> 2");
    expect(await page.locator("td.new").allTextContents()).toEqual(["2 held, epoch 0"]);
    await page.keyboard.press("ArrowRight");
    expect(await page.locator("#slider").inputValue()).toBe("2");
    await page.keyboard.press("Home");
    expect(await page.locator("#slider").inputValue()).toBe("0");
    await page.getByRole("button", { name: /start returns/ }).click();
    expect((await state(page))["hva 0x7f0000010000 to 0x7f0000014000"]).toBe("open");
    expect(await page.locator("button.ev.now").count()).toBe(1);
    expect(pages.complaints).toEqual([]);
    await page.close();
  });

  test("is dark where the reader wants it dark, with text that stands out", async () => {
    const brightness = async (colorScheme: "light" | "dark"): Promise<{ ground: number; ink: number }> => {
      const page = await open(raceHtml(sampleTrace()), { colorScheme });
      const found = await page.evaluate(() => {
        const style = getComputedStyle(document.body);
        const of = (color: string): number =>
          color
            .match(/\d+/g)!
            .slice(0, 3)
            .reduce((sum, part) => sum + Number(part), 0) / 3;
        return { ground: of(style.backgroundColor), ink: of(style.color) };
      });
      await page.close();
      return found;
    };
    const light = await brightness("light");
    const dark = await brightness("dark");
    expect(light.ground - light.ink).toBeGreaterThan(150);
    expect(dark.ink - dark.ground).toBeGreaterThan(150);
  });

  test("fits its window, and a screenshot is not empty", async () => {
    for (const width of [1440, 1100, 480]) {
      const page = await open(raceHtml(sampleTrace()), { width });
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(overflow, `${width} pixels wide`).toBeLessThanOrEqual(0);
      expect((await page.screenshot()).length).toBeGreaterThan(10_000);
      await page.close();
    }
  });

  test("shows everything without scripts: accesses, the state at the end, and the text", async () => {
    const page = await open(raceHtml(sampleTrace()), { javaScriptEnabled: false });
    expect(await page.locator("button.ev").count()).toBe(28);
    expect(await page.locator("#slider").isVisible()).toBe(false);
    expect((await page.locator("noscript").textContent())!).toContain("State at the end");
    await page.locator("summary").click();
    expect(await page.locator("pre").textContent()).toContain("page[3].refcount 1 -> 0: freed");
    await page.close();
  });

  test("a name that is HTML stays text", async () => {
    const name = `</script><img src=x onerror="document.title='taken'"><b>&amp;`;
    const trace = {
      ...sampleTrace(),
      scenario: name,
      repeat: name,
      actors: sampleTrace().actors.map((actor) => ({ ...actor, name })),
    };
    const page = await open(raceHtml({ ...trace, end: { ...trace.end, says: name, name } }));
    expect(pages.complaints).toEqual([]);
    expect(pages.requests).toEqual([page.url()]);
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.locator(".facts b").first().textContent()).toBe(name);
    expect(await page.title()).toBe(`VIOLATED ${name}: ${name}`);
    await page.close();
  });
});

// The race page in a real browser: it needs nothing but itself, says what its slider points to, and is readable in the dark.
import { type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { explore } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { CHECKERS } from "../../src/invariants/index.js";
import { raceHtml } from "../../src/report/race-html.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";
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
    expect(await page.locator("button.ev").count()).toBe(36);
    await page.close();
  });

  test("of a real counterexample: the SPTE that is installed and the page that is freed, up to the end", async () => {
    // With the checkers of uses alone the execution goes on to where the harm is done: the guest's store to a freed page.
    const { violations } = explore(faultVsDontneed as Scenario, {
      without: ["RetryUnderLock"],
      checkers: CHECKERS.filter(({ name }) => name === "no-use-after-free"),
    });
    const page = await open(raceHtml(violations[0]!.trace));
    expect(pages.complaints).toEqual([]);
    const button = (name: RegExp) => page.getByRole("button", { name });
    expect(await button(/vcpu0: spte\[gfn 0x10 4K\] none -> pfn 3 RWX AD/).count()).toBe(1);
    expect(await button(/page\[3\]\.refcount 1 -> 0: freed/).count()).toBe(1);
    expect(await button(/guest stores to pfn 3\+0x0/).count()).toBe(1);
    const AT_END = { "page 3": /^free/, "hva 0x100000000000": /^none$/, "gfn 0x10": /^pfn 3 RWX AD$/ };
    const isAtEnd = async (): Promise<void> => {
      const now = await state(page);
      for (const [name, value] of Object.entries(AT_END)) expect(now[name], name).toMatch(value);
    };
    await isAtEnd();
    await page.locator("#slider").fill("0");
    expect(await state(page)).toMatchObject({ "gfn 0x10": "none", "hva 0x100000000000": "pfn 3 RW- AD" });
    await page.keyboard.press("End");
    await isAtEnd();
    await page.close();

    // With every checker it ends where the leaf comes to be.
    const first = explore(faultVsDontneed as Scenario, { without: ["RetryUnderLock"] }).violations[0]!;
    const short = await open(raceHtml(first.trace));
    expect(await short.locator("button.ev").last().textContent()).toContain("spte[gfn 0x10 4K]");
    expect(await state(short)).toMatchObject({
      "gfn 0x10": "pfn 3 RWX AD",
      "page 3": expect.stringMatching(/^2 held/) as string,
    });
    expect(pages.complaints).toEqual([]);
    await short.close();
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
    await page.locator("#slider").fill("5");
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
    expect(await page.locator("#slider").inputValue()).toBe("6");
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
    expect(await page.locator("button.ev").count()).toBe(36);
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

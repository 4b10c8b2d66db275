// The walker in a real browser, from a server that sends no COOP and COEP headers: the page of examples/, and the module
// inlined. What is served is the built package (`npm run build`).
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { extname, join, normalize, resolve } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const named = process.env["GUESTMMU_BROWSER"];
const executablePath = named ?? "/usr/bin/chromium";
const missing = named === undefined && !existsSync(executablePath);
if (missing)
  console.warn(`walker page: skipped, ${executablePath} is not there and GUESTMMU_BROWSER names no other`);

const root = resolve(import.meta.dirname, "../..");
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** A page that has the walker from `guestmmu/inline`, and leaves what it found in a global. */
const INLINE_PAGE = `<!doctype html><title>inline</title>
<script type="importmap">{ "imports": {
  "guestmmu/inline": "/dist/inline/index.js",
  "@assemblyscript/loader": "/node_modules/@assemblyscript/loader/index.js"
} }</script>
<script type="module">
  import { PageWalker, inlineModule, openInlineModule } from "guestmmu/inline";
  const words = new BigUint64Array(512 * 6);
  words[512] = 0x2007n;
  words[2 * 512] = 0x87n; // 1 GiB
  const memory = new Uint8Array(words.buffer);
  const walker = PageWalker.create(memory, { cr3: 0x1000n }, { module: await openInlineModule() });
  const same = (await openInlineModule()) === inlineModule();
  globalThis.found = [String(walker.translate(0x1234n)), same, globalThis.crossOriginIsolated];
</script>`;

describe.skipIf(missing)("the walker in a page", () => {
  let server: Server;
  let base: string;
  let browser: Browser;
  let requests: string[];
  let complaints: string[];

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url!, "http://here").pathname);
      const type = TYPES[extname(path)];
      try {
        if (path === "/favicon.ico") return void response.writeHead(204).end();
        if (path === "/inline.html")
          return void response.writeHead(200, { "content-type": "text/html" }).end(INLINE_PAGE);
        const bytes = await readFile(join(root, path));
        response.writeHead(200, { "content-type": type ?? "application/octet-stream" }).end(bytes);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  });
  afterAll(async () => {
    await browser.close();
    server.close();
  });

  async function open(path: string): Promise<Page> {
    const page = await browser.newPage();
    requests = [];
    complaints = [];
    page.on("request", (request) => requests.push(new URL(request.url()).pathname));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("response", (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
    });
    await page.goto(base + path);
    return page;
  }

  const cells = (page: Page, id: string): Promise<string[][]> =>
    page.$$eval(`#${id} tbody tr`, (rows) =>
      rows.map((row) => [...row.children].map(({ textContent }) => textContent ?? "")),
    );

  test("the example lists, walks and tells why an access faults", async () => {
    const page = await open("/examples/walker-page/index.html");
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(false);
    expect(await cells(page, "mappings")).toEqual([
      ["0x7f0000000000", "0x7f0000000fff", "0x8000", "ur-x"],
      ["0x7f0000001000", "0x7f0000001fff", "0x9000", "urw-"],
      ["0xffff888000000000", "0xffff8880001fffff", "0x0", "-rw-"],
    ]);
    await page.click("#query button");
    expect(await page.textContent("#result")).toBe("physical address 0x9234");
    expect((await cells(page, "steps")).map(([level, table]) => [level, table])).toEqual([
      ["4", "0x1000"],
      ["3", "0x2000"],
      ["2", "0x3000"],
      ["1", "0x4000"],
    ]);
    await page.selectOption("select", "fetch");
    await page.click("#query button");
    expect(await page.textContent("#result")).toContain("#PF at gva 0x7f0000001234, error code 0x15");
    await page.fill("[name=gva]", "0xffff888000000010");
    await page.selectOption("select", "read");
    await page.click("#query button");
    expect(await page.textContent("#result")).toContain("error code 0x5");
    await page.fill("[name=cr3]", "0xfffff000000000000000");
    await page.click("#source button");
    expect(await page.textContent("#result")).toContain("cr3");
    // Nothing but the embed module is fetched, and nothing is wrong.
    expect(requests.filter((path) => path.endsWith(".wasm"))).toEqual(["/build/embed.wasm"]);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test("takes a raw file of the user's", async () => {
    const page = await open("/examples/walker-page/index.html");
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    const words = new BigUint64Array(512 * 6);
    for (const [table, next] of [
      [2, 3],
      [3, 4],
      [4, 5],
      [5, 1],
    ] as const)
      words[table * 512 + 7] = (BigInt(next) << 12n) | 7n;
    await page.setInputFiles("[name=file]", {
      name: "memory.raw",
      mimeType: "application/octet-stream",
      buffer: Buffer.from(words.buffer),
    });
    await page.fill("[name=cr3]", "0x2000");
    await page.click("#source button");
    await page.waitForFunction(() => document.querySelectorAll("#mappings tbody tr").length === 1);
    const gva = (7n << 39n) | (7n << 30n) | (7n << 21n) | (7n << 12n);
    expect(await cells(page, "mappings")).toEqual([
      [`0x${gva.toString(16)}`, `0x${(gva + 0xfffn).toString(16)}`, "0x1000", "urwx"],
    ]);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test("works from JavaScript alone: guestmmu/inline fetches no module", async () => {
    const page = await open("/inline.html");
    await page.waitForFunction(() => "found" in globalThis);
    const found = await page.evaluate(() => (globalThis as unknown as { found: unknown }).found);
    expect(found).toEqual([String(0x1234), true, false]);
    expect(requests.filter((path) => path.endsWith(".wasm"))).toEqual([]);
    expect(complaints).toEqual([]);
    await page.close();
  });
});

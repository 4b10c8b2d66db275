// A browser for tests of pages: it opens them from a file, and keeps what they ask for and complain about.
// GUESTMMU_BROWSER names the browser; without it /usr/bin/chromium is used, and without that the tests are skipped.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";

const named = process.env["GUESTMMU_BROWSER"];
const executablePath = named ?? "/usr/bin/chromium";
// A browser that was named and is not there is an error, not a reason to skip.
export const missing = named === undefined && !existsSync(executablePath);
if (missing)
  console.warn(`pages: skipped, ${executablePath} is not there and GUESTMMU_BROWSER names no other`);

export interface OpenOptions {
  readonly colorScheme?: "light" | "dark";
  readonly javaScriptEnabled?: boolean;
  /** Of the window, in pixels. Default 1440. */
  readonly width?: number;
}

/** One browser, for the tests of one file. */
export class Pages {
  readonly #browser: Browser;
  readonly #directory: string;
  /** What the page opened last has asked for, itself included, and complained about. */
  requests: string[] = [];
  complaints: string[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
    this.#directory = mkdtempSync(join(tmpdir(), "guestmmu-page-"));
  }
  static async launch(): Promise<Pages> {
    return new Pages(await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] }));
  }
  async close(): Promise<void> {
    await this.#browser.close();
    rmSync(this.#directory, { recursive: true });
  }

  async open(html: string, { width = 1440, ...options }: OpenOptions = {}): Promise<Page> {
    const path = join(this.#directory, "page.html");
    writeFileSync(path, html);
    const page = await this.#browser.newPage({ ...options, viewport: { width, height: 1000 } });
    this.requests = [];
    this.complaints = [];
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(error.message));
    await page.goto(pathToFileURL(path).href);
    return page;
  }
}

import { createServer, type Server } from "node:http";
import { readFileSync } from "node:fs";
import { type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileModule, openModule, type ModuleSource } from "../../src/core/module.js";
import { GuestMmuError } from "../../src/errors.js";
import { refused } from "./machine-fixture.js";

const address = new URL("../../build/release.wasm", import.meta.url);
const bytes = new Uint8Array(readFileSync(address));
/** (module), a module with nothing in it. */
const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

describe("compileModule", () => {
  test("compiles a build once", () => {
    expect(compileModule("release")).toBe(compileModule("release"));
    expect(compileModule(address)).toBe(compileModule("release"));
    expect(compileModule("lab")).not.toBe(compileModule("release"));
  });

  test("takes a module, bytes, a view of bytes", () => {
    const module = new WebAssembly.Module(bytes);
    expect(compileModule(module)).toBe(module);
    expect(compileModule(bytes)).toBeInstanceOf(WebAssembly.Module);
    expect(compileModule(bytes.buffer)).toBeInstanceOf(WebAssembly.Module);
  });

  test.each<[string, unknown]>([
    ["a name", "debug"],
    ["a property of every object", "constructor"],
    ["null", null],
    ["nothing", undefined],
    ["a number", 7],
  ])("refuses %s", (_, source) => {
    refused("CONFIG_INVALID", () => compileModule(source as ModuleSource));
  });

  test.each<[string, ModuleSource]>([
    ["bytes that are no module", new Uint8Array([1, 2, 3])],
    ["a module that was cut off", bytes.slice(0, bytes.length / 2)],
    ["a module that is no core", EMPTY],
    ["a compiled module that is no core", new WebAssembly.Module(EMPTY)],
    ["a file that is not there", new URL("file:///nonexistent/core.wasm")],
  ])("refuses %s", (_, source) => {
    refused("MODULE_MISMATCH", () => compileModule(source));
  });

  test("says that an address on the network takes openModule", () => {
    expect(refused("UNSUPPORTED", () => compileModule(new URL("http://localhost/core.wasm"))).hint).toContain(
      "open",
    );
  });
});

describe("openModule", () => {
  let server: Server;
  let base: string;
  let requests = 0;
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests++;
      if (request.url === "/missing.wasm") response.writeHead(404).end();
      else
        response
          .writeHead(200, {
            "content-type": request.url === "/typed.wasm" ? "application/wasm" : "text/plain",
          })
          .end(bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  test.each(["typed.wasm", "untyped.wasm"])("fetches %s once, whatever its media type", async (name) => {
    const before = requests;
    const both = await Promise.all([openModule(new URL(name, base)), openModule(new URL(name, base))]);
    expect(both[0]).toBe(both[1]);
    expect(requests - before).toBe(1);
    expect(compileModule(new URL(name, base))).toBe(both[0]);
  });

  test("rejects where there is nothing, and asks again next time", async () => {
    const missing = new URL("missing.wasm", base);
    await expect(openModule(missing)).rejects.toThrow(GuestMmuError);
    const before = requests;
    await expect(openModule(missing)).rejects.toMatchObject({ code: "MODULE_MISMATCH", cause: "HTTP 404" });
    expect(requests - before).toBe(1);
  });

  test("rejects where nobody listens", async () => {
    await expect(openModule(new URL("http://127.0.0.1:1/core.wasm"))).rejects.toMatchObject({
      code: "MODULE_MISMATCH",
    });
  });

  test("takes what needs no fetching", async () => {
    expect(await openModule("release")).toBe(compileModule("release"));
    await expect(openModule("no" as "lab")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

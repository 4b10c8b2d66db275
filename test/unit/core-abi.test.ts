// The table of exports (src/core/abi.ts) against the built modules and the declarations that the compiler emits.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ABI, LAB_ABI } from "../../src/core/abi.js";
import { Core } from "../../src/core/core.js";
import { compileModule, isEmbedModule, isLabModule } from "../../src/core/module.js";
import { refused } from "./machine-fixture.js";

const functionsOf = (module: WebAssembly.Module): string[] =>
  WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === "function")
    .map(({ name }) => name)
    .sort();

const newMemory = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });

describe("the table of exports", () => {
  test("names just the functions of the release module", () => {
    expect(functionsOf(compileModule("release"))).toEqual(Object.keys(ABI).sort());
  });

  test("and of the embed module, which has no other and wants memory that is not shared", () => {
    const module = compileModule("embed");
    expect(functionsOf(module)).toEqual(Object.keys(ABI).sort());
    expect(isEmbedModule(module)).toBe(true);
    expect(isEmbedModule(compileModule("release"))).toBe(false);
    expect(isEmbedModule(compileModule("lab"))).toBe(false);
    refused("MODULE_MISMATCH", () => Core.on(module, newMemory()));
    expect(Core.on(module, new WebAssembly.Memory({ initial: 1, maximum: 65536 })).lab).toBeNull();
  });

  test("and with the lab's, just those of the lab module", () => {
    expect(functionsOf(compileModule("lab"))).toEqual([...Object.keys(ABI), ...Object.keys(LAB_ABI)].sort());
  });

  test.each(["release", "lab"] as const)(
    "%s: every function takes as many arguments as the table says",
    (name) => {
      const stubs = { memory: newMemory(), order: () => {}, choose: () => 0, note: () => {} };
      const { exports } = new WebAssembly.Instance(compileModule(name), { env: stubs });
      const table = name === "lab" ? { ...ABI, ...LAB_ABI } : ABI;
      const arity = Object.fromEntries(Object.keys(table).map((f) => [f, (exports[f] as () => void).length]));
      expect(arity).toEqual(
        Object.fromEntries(Object.entries(table).map(([f, { parameters }]) => [f, parameters.length])),
      );
    },
  );

  test("parameters and results are those of build/release.d.ts", () => {
    const declared = readFileSync(new URL("../../build/release.d.ts", import.meta.url), "utf8");
    const kinds = { u32: "number", i32: "number", u64: "bigint", bool: "boolean", void: "void" };
    const seen: string[] = [];
    for (const [, name, parameters, result] of declared.matchAll(/export function (\w+)\((.*)\): (\w+);/g)) {
      const signature = ABI[name as keyof typeof ABI];
      const types = parameters!
        .split(", ")
        .filter(Boolean)
        .map((p) => p.split(": ")[1]);
      expect({ name, types, result }).toEqual({
        name,
        types: signature.parameters.map((kind) => kinds[kind]),
        result: kinds[signature.result],
      });
      seen.push(name!);
    }
    expect(seen.sort()).toEqual(Object.keys(ABI).sort());
  });
});

describe("Core", () => {
  test("knows a lab module from a release module", () => {
    expect(isLabModule(compileModule("lab"))).toBe(true);
    expect(isLabModule(compileModule("release"))).toBe(false);
    expect(Core.on(compileModule("release"), newMemory()).lab).toBeNull();
    expect(Core.on(compileModule("lab"), newMemory()).lab).not.toBeNull();
  });

  test("refuses a memory that the module cannot import", () => {
    refused("MODULE_MISMATCH", () =>
      Core.on(compileModule("release"), new WebAssembly.Memory({ initial: 1, maximum: 2 })),
    );
  });
});

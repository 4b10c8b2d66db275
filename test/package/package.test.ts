// The package as a user gets it: packed, installed into an empty folder, imported, typed and run.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
let folder: string;
let files: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guestmmu-package-"));
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
  });
  const [{ filename, files: packed }] = JSON.parse(stdout) as [
    { filename: string; files: { path: string }[] },
  ];
  files = packed.map(({ path }) => path);
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ name: "empty", private: true, type: "module" }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `./${filename}`], {
    cwd: folder,
  });
}, 180_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Compiles one file as a program of its own: strictly, without skipping declarations. */
const compile = (file: string, lib: string, ...more: string[]) =>
  node(
    join(root, "node_modules/typescript/bin/tsc"),
    ...["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", lib, ...more, file],
  ).catch((error: { stdout?: string }) => {
    throw new Error(`${file} with --lib ${lib}:\n${error.stdout}`);
  });

const node = (...args: string[]) => run(process.execPath, args, { cwd: folder });

describe("the tarball", () => {
  test("holds what a user needs and nothing else", () => {
    for (const file of [
      "dist/index.js",
      "dist/index.d.ts",
      "dist/workers/index.js",
      "build/release.wasm",
      "build/embed.wasm",
      "build/lab.wasm",
      "dist/walker/index.js",
      "dist/inline/index.js",
      "examples/walk-raw.mjs",
      "examples/walker-page/index.html",
      "dist/verify/index.js",
      "dist/report/index.js",
      "dist/verify/worker.js",
      "build/lab-explore.wasm",
      "build/lab-explore.sites.json",
      "build/release-explore.wasm",
      "build/release-explore.sites.json",
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
    ]) {
      expect(files).toContain(file);
    }
    expect(files.filter((file) => /^(src|assembly|test|bench|scripts|node_modules)\//.test(file))).toEqual(
      [],
    );
    expect(files.filter((file) => /constants\.wasm|\.wat$/.test(file))).toEqual([]);
  });

  test("every entry of the exports map exists", async () => {
    const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      exports: Record<string, string | Record<string, string>>;
    };
    const targets = Object.values(exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry),
    );
    for (const target of targets) {
      await expect(readFile(join(folder, "node_modules/guestmmu", target))).resolves.toBeDefined();
    }
  });
});

describe("installed", () => {
  test("the library makes a machine, and a guest write can be read back", async () => {
    await writeFile(
      join(folder, "use.mjs"),
      `import { Machine } from "guestmmu";
       const machine = Machine.create({ frames: 1024, vcpus: 1 });
       const hva = machine.mm.mmap(1 << 20);
       machine.memslots.add({ gpa: 0, hva, length: 1 << 20 });
       const vcpu = machine.vcpu(0);
       vcpu.write(0x1234, 0xdeadbeef, 32);
       console.log(vcpu.read(0x1234, 32).value.toString(16));
       machine.dispose();`,
    );
    const { stdout } = await node("use.mjs");
    expect(stdout).toContain("deadbeef");
  });

  test("the library entry reaches neither piscina nor commander, nor the explorer", async () => {
    await writeFile(
      join(folder, "graph.mjs"),
      `import { register } from "node:module";
       const seen = [];
       const hooks = "data:text/javascript," + encodeURIComponent(
         "export async function resolve(s, c, n) { if (/piscina|commander|\\\\/(explore|invariants|scenarios|verify)\\\\//.test(s)) throw new Error('reaches ' + s); return n(s, c); }");
       register(hooks);
       await import("guestmmu");
       console.log("clean", seen.length);`,
    );
    expect((await node("graph.mjs")).stdout).toContain("clean 0");
  });

  test("the words and pictures of a walk need nothing of Node, and their example draws a page", async () => {
    await writeFile(
      join(folder, "report.mjs"),
      `import { register } from "node:module";
       const hooks = "data:text/javascript," + encodeURIComponent(
         "export async function resolve(s, c, n) { if (!/^(\\.|guestmmu|file:)/.test(s)) throw new Error('reaches ' + s); return n(s, c); }");
       register(hooks);
       console.log(typeof (await import("guestmmu/report")).walkPage);`,
    );
    expect((await node("report.mjs")).stdout.trim()).toBe("function");
    const { stdout } = await node("node_modules/guestmmu/examples/walk-page.mjs", join(folder, "walk.html"));
    expect(stdout).toMatch(/raises #PF with error code 0x3 \(P, W\/R\), because the page is read-only/);
    expect(await readFile(join(folder, "walk.html"), "utf8")).toMatch(/^<!doctype html>[^]*<\/html>\n$/);
  });

  test("images are opened from files, and from bytes without Node", async () => {
    await writeFile(join(folder, "memory.raw"), new Uint8Array(8192).fill(7));
    await writeFile(
      join(folder, "images.mjs"),
      `import { openImage } from "guestmmu/images";
       const image = await openImage("memory.raw");
       const page = new Uint8Array(4096);
       console.log(image.format, image.readPage(1, page), page[4095], image.readPage(2, page));
       image.close();`,
    );
    expect((await node("images.mjs")).stdout.trim()).toBe("raw true 7 false");
    await writeFile(
      join(folder, "bytes.mjs"),
      `import { register } from "node:module";
       register("data:text/javascript," + encodeURIComponent(
         "export async function resolve(s, c, n) { if (/^node:/.test(s)) throw new Error('reaches ' + s); return n(s, c); }"));
       const { imageOf, loadZstd } = await import("guestmmu/images/bytes");
       const zstd = await loadZstd();
       console.log(imageOf(new Uint8Array(8192), "bytes", { zstd }).ranges[0].end);`,
    );
    expect((await node("bytes.mjs")).stdout.trim()).toBe("8192n");
    await writeFile(
      join(folder, "images.mts"),
      `import { openImage, type PhysicalImage } from "guestmmu/images";
       import { imageOf, loadZstd } from "guestmmu/images/bytes";
       const image: PhysicalImage = imageOf(new Uint8Array(4096), "bytes", { zstd: await loadZstd() });
       (await openImage("memory.raw", { maxUnpackedBytes: 1 })).gaps satisfies typeof image.gaps;
       // @ts-expect-error no such format
       imageOf(new Uint8Array(4096), "bytes", { format: "qcow2" });`,
    );
    await compile("images.mts", "es2023,dom");
    await compile(
      "images.mts",
      "es2023",
      "--types",
      "node",
      "--typeRoots",
      join(root, "node_modules/@types"),
    );
  });

  test("the worker entry and the wasm assets can be imported by name", async () => {
    await writeFile(
      join(folder, "assets.mjs"),
      `import { readFile } from "node:fs/promises";
       import * as worker from "guestmmu/worker";
       for (const name of ["release", "embed", "lab"]) {
         const bytes = await readFile(new URL(import.meta.resolve("guestmmu/wasm/" + name + ".wasm")));
         if (!WebAssembly.validate(bytes)) throw new Error(name + " is not valid");
       }
       console.log("exports", Object.keys(worker).length > 0);`,
    );
    expect((await node("assets.mjs")).stdout).toContain("exports true");
  });

  test("a walker walks: by the package's module, by the inlined one, by bytes, by address and by itself", async () => {
    await writeFile(
      join(folder, "walker.mjs"),
      `import { readFile } from "node:fs/promises";
       import { PageWalker as Own, registersOf } from "guestmmu";
       import { PageWalker } from "guestmmu/walker";
       import { PageWalker as Inline, inlineBytes, inlineModule } from "guestmmu/inline";
       const words = new BigUint64Array(512 * 3);
       words[512] = 0x2007n;
       words[2 * 512 + 1] = 0x4000_0087n;
       const memory = new Uint8Array(words.buffer);
       const url = new URL(import.meta.resolve("guestmmu/wasm/embed.wasm"));
       const found = [undefined, "release", inlineModule(), inlineBytes(), url, await readFile(url)].map((module) =>
         PageWalker.create(memory, { cr3: 0x1000n }, module && { module }).translate(0x4000_1234n));
       const opened = await PageWalker.open(memory, { cr3: 0x1000n }, { module: url });
       console.log(new Set([...found, opened.translate(0x4000_1234n)]).size, found[0].toString(16));
       console.log(Own === PageWalker, Inline === PageWalker, typeof registersOf);`,
    );
    expect((await node("walker.mjs")).stdout).toBe("1 40001234\ntrue true function\n");
    await writeFile(
      join(folder, "walker.mts"),
      `import { PageWalker, type Gva, type Hpa, type Gpa, type PhysicalMemory } from "guestmmu/inline";
       const memory: PhysicalMemory = { readPage: (pfn, target) => pfn < 2 && target.fill(0).length > 0 };
       const walker = PageWalker.create(memory, { cr3: 0x1000n, nested: { kind: "ept", eptp: 0x1en } });
       const at: Hpa | null = walker.translate(0x1000n);
       for await (const row of walker.mappings({ fold: "rights" })) {
         const from: Gva = row.gva;
         const to: Gpa = row.gpa;
         // @ts-expect-error guest-physical is not host-physical
         const wrong: Hpa = row.gpa;
         walker.walk(from, { access: "fetch", cpl: 3 });
         // @ts-expect-error a host-physical address cannot be walked
         if (at) walker.walk(at);
         void [to, wrong];
       }`,
    );
    await compile("walker.mts", "es2023,dom", "--target", "es2022");
    await compile(
      "walker.mts",
      "es2023",
      "--types",
      "node",
      "--typeRoots",
      join(root, "node_modules/@types"),
    );
  });

  test("the explorer explores, and its examples are typed", async () => {
    await writeFile(
      join(folder, "explore.mjs"),
      `import { explore, SCENARIOS, CHECKERS } from "guestmmu/explore";
       const race = SCENARIOS.find(({ name }) => name === "fault-vs-dontneed");
       const [held, broken] = [[], ["SeqChecked"]].map((without) => explore(race, { without }).verdict);
       console.log(CHECKERS.length > 0, held, broken);`,
    );
    expect((await node("explore.mjs")).stdout.trim()).toBe("true holds violated");
    await writeFile(
      join(folder, "scenario.mts"),
      await readFile(join(root, "examples/my-scenario.ts"), "utf8"),
    );
    await compile(
      "scenario.mts",
      "es2023",
      "--types",
      "node",
      "--typeRoots",
      join(root, "node_modules/@types"),
    );
    const command = join(folder, "node_modules/.bin/guestmmu");
    for (const example of ["my-scenario.mjs", "cache-scenario.mjs"]) {
      const { stdout } = await run(command, ["explore", `node_modules/guestmmu/examples/${example}`], {
        cwd: folder,
      });
      expect(stdout).toMatch(/^HOLDS/m);
    }
    // A scenario of KVM's own users through the library, typed: each family of calls is there.
    await writeFile(
      join(folder, "users.mts"),
      `import { actor, cacheCalls, explore, faultCalls, faultOnce, foundPfn, graceCalls, hardwareCalls, hostCalls, mapCalls,
         scenario, stateCalls, type Program } from "guestmmu/explore";
       const [GPA, PAGE] = [0x10000n, 4096n];
       const users: Program = function* () {
         yield mapCalls(0).map(GPA);
         yield mapCalls(0).write(7n);
         yield mapCalls(0).unmap();
         yield cacheCalls(0).write(9n);
       };
       const one = scenario("users", {
         prose: "A map and a cache against madvise.",
         holds: "Both write where nobody has freed the page.",
         setup(machine) {
           const hva = machine.mm.mmap(PAGE);
           machine.memslots.add({ gpa: GPA, hva, length: PAGE });
           machine.mm.populate(hva, PAGE);
           machine.kvm.cache(GPA);
           return { hva };
         },
         actors: ({ hva }) => [
           actor("vcpu", "vcpu0", 0, users),
           actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
         ],
       });
       const rest: Program[] = [faultOnce(0, GPA), function* () { yield hardwareCalls(1, 0).speculate(GPA, "read"); }];
       console.log(explore(one).verdict, explore(one, { without: ["VcpuMapHoldsReference"] }).verdict, rest.length,
         faultCalls(0).begin(GPA).name, graceCalls(1).free().name, stateCalls.seq().name, foundPfn(1n << 32n));`,
    );
    await compile("users.mts", "es2023", "--types", "node", "--typeRoots", join(root, "node_modules/@types"));
    await writeFile(
      join(folder, "users.mjs"),
      (await readFile(join(folder, "users.mts"), "utf8")).replaceAll(/, type Program|: Program(\[\])?/g, ""),
    );
    expect((await node("users.mjs")).stdout.trim()).toBe(
      "holds violated 2 labFaultBegin labRcuGrace kvmInvalidateSeq null",
    );
  });

  test("its types hold under strict settings", async () => {
    await writeFile(
      join(folder, "typed.mts"),
      `import { Machine } from "guestmmu";
       const machine: Machine = Machine.create({ frames: 256, vcpus: 1 });
       const access = machine.vcpu(0).read(0n, 64);
       // @ts-expect-error a vCPU is chosen by number
       machine.vcpu("0");
       if (access.kind === "ok") access.value satisfies bigint;
       machine.dispose();`,
    );
    await compile("typed.mts", "es2023,dom");
    await compile("typed.mts", "es2023", "--types", "node", "--typeRoots", join(root, "node_modules/@types"));
  });

  test("its memory and module are those of the platform's declarations, where there are any", async () => {
    await writeFile(
      join(folder, "dom.mts"),
      `import { Machine, type ModuleSource, type WasmMemory } from "guestmmu";
       const given: WebAssembly.Memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
       const machine = Machine.create({ memory: given });
       const memory: WebAssembly.Memory = machine.memory satisfies WasmMemory;
       const source: ModuleSource = machine.module satisfies WebAssembly.Module;
       Machine.attach(memory, source);`,
    );
    await compile("dom.mts", "es2023,dom");
    await writeFile(
      join(folder, "node.mts"),
      `import { Machine } from "guestmmu";
       const { memory, module } = Machine.create({ frames: 256 });
       memory.buffer.byteLength satisfies number;
       Machine.attach(memory, module);
       // @ts-expect-error no memory
       Machine.attach({}, module);
       // @ts-expect-error no module
       Machine.attach(memory, "debug");`,
    );
    await compile("node.mts", "es2023", "--types", "node", "--typeRoots", join(root, "node_modules/@types"));
  });

  test("the command runs, and tells its version", async () => {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
    const command = join(folder, "node_modules/.bin/guestmmu");
    expect((await run(command, ["--version"])).stdout.trim()).toBe(version);
    expect((await run(command, ["doctor"])).stdout).toMatch(/shared/i);
  });
});

// `guestmmu info`, `walk`, `maps`, `read`, `rmap` and `diff` as a user types them.
import {
  copyFileSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decompress } from "fzstd";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuiltMemory, P, RW, smallKernel, US, XD } from "../physical-memory.js";
import { guestmmu } from "./command.js";

const SAMPLES = new URL("../data/images/", import.meta.url).pathname;
const KPTI = `${SAMPLES}lin-kpti/vmcore-pt.elf.zst`;
const NESTED = `${SAMPLES}nested/vmcore-pt.elf.zst`;

/** Root of CPU 0 of the first, and an address that it maps in user space, read and write. */
const ROOT = "0x2691000";
const STACK = "0x7ffead74cd60";

let folder: string;
let raw: string;
const kernel = smallKernel();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "guestmmu-image-"));
  raw = join(folder, "small.raw");
  kernel.memory.page(0x80_0000n).set(new TextEncoder().encode("the first page of a process"));
  kernel.memory.writeTo(raw);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string): string => join(folder, name);

/** Runs a command that has to succeed. */
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await guestmmu(args);
  expect(err).toBe("");
  expect(code).toBe(0);
  return out;
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await done(...args, "--json")) as T;
}

describe("info", () => {
  test("says what the image is, what its CPUs were at, and which roots are in it", async () => {
    const out = await done("info", KPTI);
    expect(out).toMatch(/^format +ELF64 core, compressed with zstd$/m);
    expect(out).toMatch(/^CPU 0 +4-level paging: CR0\.PG and CR4\.PAE are set, CS\.L is set: long mode/m);
    expect(out).toMatch(/EFER 0xd00, assumed with NXE set: the note has none \(--efer\)/);
    expect(out).toMatch(/^OSRELEASE=6\.1\.0/m);
    expect(out).toMatch(/^page-table roots: 20 found\./m);
    expect(out).toMatch(/^0x2691000 +4 +2 +3 +CR3 of CPU 0; the half for user mode of 0x2690000/m);
    expect(out).toMatch(/^0x5e10000 +4 +0 +69 +the kernel's root by VMCOREINFO/m);
  });

  test("--json says the same to programs, addresses as strings", async () => {
    const document = await json<{
      schema: string;
      image: { format: string; ranges: { start: string; end: string }[] };
      cpus: { mode: string; cr3: string; efer_assumed: boolean; root_in_image: boolean }[];
      roots: { pa: string; supported: boolean; pair: { pa: string; half: string } | null }[];
    }>("info", KPTI);
    expect(document.schema).toBe("guestmmu-inspect/1");
    expect(document.image.format).toBe("elf");
    expect(document.image.ranges).toHaveLength(74);
    expect(document.cpus).toMatchObject([
      { mode: "4-level", cr3: ROOT, efer_assumed: true, root_in_image: true },
      { mode: "4-level", cr3: "0x31c3000", efer_assumed: true, root_in_image: true },
    ]);
    expect(document.roots[0]).toMatchObject({
      pa: ROOT,
      supported: true,
      pair: { pa: "0x2690000", half: "user" },
    });
  });

  test("finds a VMCB, and whose guest a CPU was in", async () => {
    const out = await done("info", NESTED);
    expect(out).toMatch(/^VMCB +at 0x13800000, ASID 7/m);
    expect(out).toMatch(
      /the page that CR3 names is not in the image: it is that of a nested guest, by the VMCB/,
    );
  });

  test("finds the roots of a raw image, which has no notes", async () => {
    const out = await done("info", raw);
    for (const root of kernel.roots)
      expect(out).toMatch(
        new RegExp(`0x${root.toString(16)} +4 +1 +1 +its own tables map it, writable, at ffff8880001`),
      );
  });
});

describe("walk", () => {
  test("prints each level with its entry, flags and rights so far, and what it comes to", async () => {
    const out = await done("walk", KPTI, STACK);
    expect(out).toMatch(
      /^read of gva 0x7ffead74cd60 at CPL 3\n4-level tables of CR3 0x2691000 \(CR3 of CPU 0\)$/m,
    );
    expect(out).toMatch(/^PML4E +0x2691000 +255 +0x26917f8 +000000000316b067 +P RW US A D +RWX U$/m);
    expect(out).toMatch(/^PTE +0x2739000 +332 +0x2739a60 +80000000072e1867 +P RW US A D XD +RW- U$/m);
    expect(out).toMatch(/^physical address 0x72e1d60, in a page of 4 KiB$/m);
    expect(out).toMatch(/^note: EFER is not in the image: NXE is assumed set/m);
  });

  test("says why an access faults, which is a result", async () => {
    const fetched = await done("walk", KPTI, STACK, "--access", "x");
    expect(fetched).toMatch(
      /raises #PF with error code 0x15 .*because the page is not executable: XD \(bit 63\) is set in the PTE/,
    );
    const smap = await done("walk", KPTI, STACK, "--cpl", "0");
    expect(smap).toMatch(/CR4\.SMAP forbids/);
    const absent = await done("walk", KPTI, "0xffff888000000000", "--access", "w");
    expect(absent).toMatch(/because the PML4E \(level 4, entry 273 at 0x2691888\) is not present/);
    expect(await done("walk", KPTI, "0x800000000000")).toMatch(
      /#GP\(0\), because the address is not canonical/,
    );
    // Without NXE bit 63 is reserved.
    expect(await done("walk", KPTI, STACK, "--efer", "0x500")).toMatch(/has reserved bits set: bit 63/);
  });

  test("takes the root of another CPU, or any", async () => {
    expect(await done("walk", KPTI, STACK, "--cpu", "1")).toMatch(/of CR3 0x31c3000 \(CR3 of CPU 1\)/);
    expect(await done("walk", KPTI, STACK, "--cr3", "0x2690000")).toMatch(/of CR3 0x2690000 \(as given\)/);
    const found = await done("walk", raw, "0x400000");
    expect(found).toMatch(/physical address 0x80[01]000/);
    expect(found).toMatch(/note: Root 0x10[01]000 is the best of 2 found/);
  });

  test("walks both dimensions of a nested guest", async () => {
    const out = await done("walk", NESTED, "0xffffffff81a18120", "--nested");
    expect(out.match(/^ {2}nested P/gm)).toHaveLength(13);
    expect(out).toMatch(/^gpa 0x1a18120, hpa 0x8c18120, in a piece of 2 MiB of both dimensions$/m);
    expect(out).toMatch(/^note: VMCB at 0x13800000: N_CR3 0x13c4a000/m);
    const named = await done(
      "walk",
      NESTED,
      "0xffffffff81a18120",
      "--ncr3",
      "0x13c4a000",
      "--cr3",
      "0x3bf4000",
    );
    expect(named).toMatch(/^gpa 0x1a18120, hpa 0x8c18120/m);
  });

  test("--html writes it as a page, with the command that makes it again", async () => {
    const page = file("walk.html");
    const out = await done("walk", NESTED, "0xffffffff81a18120", "--nested", "--html", page);
    expect(out).toMatch(/\nwritten: .*walk\.html\n$/);
    const html = readFileSync(page, "utf8");
    expect(html).toMatch(/^<!doctype html>/i);
    expect(html).toContain("--access r --cpl 0 --nested");
    const { code, err } = await guestmmu(["walk", KPTI, STACK, "--html", file("none/walk.html")]);
    expect(err).toMatch(/--html: .*none\/walk\.html cannot be written \(ENOENT\)/);
    expect(code).toBe(2);
  });

  test("--html does not overwrite the image, under whatever name, and does not take -", async () => {
    const image = file("kept.raw");
    copyFileSync(raw, image);
    const before = statSync(image).mtimeMs;
    symlinkSync(image, file("kept-symbolic.raw"));
    linkSync(image, file("kept-hard.raw"));
    for (const name of ["kept.raw", "kept-symbolic.raw", "kept-hard.raw"]) {
      const { code, out, err } = await guestmmu(["walk", image, "0x400000", "--html", file(name)]);
      expect(err).toMatch(/--html: .* is the image itself \(.*kept\.raw\)/);
      expect(out).toBe("");
      expect(code).toBe(2);
    }
    const through = ["walk", file("kept-symbolic.raw"), "0x400000", "--html", image];
    expect((await guestmmu(through)).code).toBe(2);
    expect(statSync(image).mtimeMs).toBe(before);
    const { code, err } = await guestmmu(["walk", image, "0x400000", "--html", "-"]);
    expect(err).toMatch(/--html: - is not a file/);
    expect(code).toBe(2);
  });

  test("--json has the same steps", async () => {
    const document = await json<{
      result: { kind: string; hpa: string };
      root: { levels: number; registers: { cr3: string } };
      steps: { entry_name: string; address: string; entry: string; flags: string[] }[];
      says: string;
    }>("walk", KPTI, STACK);
    expect(document).toMatchObject({ result: { kind: "ok", hpa: "0x72e1d60" }, root: { levels: 4 } });
    expect(document.steps.map(({ entry_name }) => entry_name)).toEqual(["PML4E", "PDPTE", "PDE", "PTE"]);
    expect(document.steps[3]).toMatchObject({ address: "0x2739a60", entry: "0x80000000072e1867" });
    expect(document.says).toMatch(/reaches physical address 0x72e1d60/);
  });
});

describe("maps", () => {
  test("folds neighbours with equal rights", async () => {
    const out = await done("maps", raw, "--cr3", "0x100000");
    expect(out.split("\n").slice(-4)).toEqual([
      "0000000000400000-0000000000400fff        4K  ur-x",
      "ffff888000000000-ffff888000ffffff       16M  -rw-",
      "2 rows",
      "",
    ]);
  });

  test("lists every page, in each form", async () => {
    const rows = await done("maps", raw, "--cr3", "0x100000", "--fold", "none");
    expect(rows).toMatch(
      /^0000000000400000-0000000000400fff {8}4K {4}4K {2}ur-x {2}0000000000800000 {2}-------U-$/m,
    );
    expect(rows.match(/^ffff8880.* 2M {2}-rw- {2}.*X-P-----W$/gm)).toHaveLength(8);
    const csv = await done("maps", raw, "--cr3", "0x100000", "--fold", "physical", "--csv");
    expect(csv).toBe(
      "gva,last,length,rights,page,gpa,entry,flags,objection\n" +
        "0x400000,0x400fff,4096,ur-x,4K,0x800000,0x800005,-------U-,\n" +
        "0xffff888000000000,0xffff888000ffffff,16777216,-rw-,2M,0x0,0x8000000000000083,X-P-----W,\n",
    );
    const document = await json<{
      roots: { mappings: { gva: string; page: number; gpa: string }[]; next: null }[];
    }>("maps", raw, "--cr3", "0x100000", "--fold", "none");
    expect(document.roots[0]!.mappings).toHaveLength(9);
    expect(document.roots[0]!.mappings[8]).toMatchObject({
      gva: "0xffff888000e00000",
      page: 2 ** 21,
      gpa: "0xe00000",
    });
  });

  test("of a range, and up to a number of rows", async () => {
    const range = ["--from", "0xffff888000200000", "--to", "0xffff8880003fffff"];
    const part = await done("maps", raw, "--cr3", "0x100000", "--fold", "none", ...range);
    expect(part).toMatch(/^ffff888000200000-ffff8880003fffff .*\n1 row\n$/m);
    const { code, out } = await guestmmu([
      "maps",
      raw,
      "--cr3",
      "0x100000",
      "--fold",
      "none",
      "--max-rows",
      "3",
    ]);
    expect(code).toBe(4);
    expect(out).toMatch(
      /^3 rows\nnote: There are more \(--max-rows\): go on with --from 0xffff888000400000\.$/m,
    );
  });

  test("of all roots", async () => {
    const out = await done("maps", raw, "--all-roots");
    expect(out.match(/^4-level tables of CR3/gm)).toHaveLength(2);
    const csv = await done("maps", raw, "--all-roots", "--csv");
    expect(csv.match(/^0x100000,/gm)).toHaveLength(2);
    expect(csv.match(/^0x101000,/gm)).toHaveLength(2);
  });

  test("of a nested guest, with both addresses", async () => {
    const out = await done(
      "maps",
      NESTED,
      "--nested",
      "--fold",
      "none",
      "--from",
      "0xffffffff81a00000",
      "--to",
      "0xffffffff81bfffff",
    );
    expect(out).toMatch(
      /^ffffffff81a00000-\S+ +2M +2M +-r-x +rwx +0000000001a00000 +0000000008c00000 +-GPDA----$/m,
    );
  });

  test("a reader that has seen enough is not an error", async () => {
    const { code, err } = await guestmmu(["maps", KPTI, "--all-roots", "--fold", "none"], {
      closeAfter: 100,
    });
    expect(err).toBe("");
    expect(code).toBe(0);
  });
});

describe("read", () => {
  test("dumps bytes, sixteen a line", async () => {
    expect(await done("read", raw, "0x400004", "23", "--cr3", "0x100000")).toBe(
      "0000000000400004              66 69 72 73  74 20 70 61 67 65 20 6f  |    first page o|\n".replace(
        "00400004",
        "00400004",
      ) + "0000000000400010  66 20 61 20 70 72 6f 63  65 73 73                 |f a process|\n",
    );
  });

  test("--raw writes the bytes themselves", async () => {
    const path = file("bytes.bin");
    const { code } = await guestmmu(["read", raw, "0x400000", "27", "--cr3", "0x100000", "--raw"], {
      stdout: path,
    });
    expect(code).toBe(0);
    expect(readFileSync(path, "latin1")).toBe("the first page of a process");
  });

  test("says what is not there; with --raw that is an error", async () => {
    const hole = await done("read", raw, "0x400ff8", "0x100000000", "--cr3", "0x100000");
    expect(hole).toMatch(/^0000000000401000 {2}not mapped, up to 0000000100400ff7$/m);
    const { code, err } = await guestmmu(["read", raw, "0x400ff8", "16", "--cr3", "0x100000", "--raw"]);
    expect(code).toBe(2);
    expect(err).toMatch(/--raw ended at gva 0x401000: 0x401000 to 0x401007 is not there \(not mapped\)/);
    expect(await done("read", KPTI, STACK, "8")).toMatch(/mapped, but the page is not in the image/);
  });

  test("--json", async () => {
    const { pieces } = await json<{ pieces: object[] }>("read", raw, "0x400ffc", "8", "--cr3", "0x100000");
    expect(pieces).toEqual([
      { gva: "0x400ffc", length: 4, bytes: "00000000" },
      { gva: "0x401000", last: "0x401003", objection: "not mapped" },
    ]);
  });
});

describe("rmap", () => {
  test("lists the virtual addresses of a frame in all roots", async () => {
    const out = await done("rmap", raw, "0x800010");
    expect(out).toMatch(/^0000000000400010 +4K +ur-x +-------U- +0000000000800005 +0x100000$/m);
    expect(out).toMatch(/^ffff888000800010 +2M +-rw- +X-P-----W +8000000000800083 +all 2$/m);
    expect(out).toMatch(/^2 mappings$/m);
    expect(await done("rmap", raw, "0x801000", "--cr3", "0x100000")).toMatch(/^1 mapping$/m);
    expect(await done("rmap", raw, "0xff000000")).toMatch(/^No virtual address leads to it\.$/m);
  });

  test("--json", async () => {
    const { mappings } = await json<{ mappings: { gva: string; page: number; roots: string[] }[] }>(
      "rmap",
      raw,
      "0x801000",
    );
    expect(mappings).toMatchObject([
      { gva: "0x400000", page: 4096, roots: ["0x101000"] },
      { gva: "0xffff888000801000", page: 2 ** 21, roots: ["0x100000", "0x101000"] },
    ]);
  });
});

describe("many rows", () => {
  test("a frame that is mapped 65,536 times is listed whole, and soon", async () => {
    const image = `${SAMPLES}lin-1g/vmcore-pt.elf.zst`;
    const { code, out, err, ms } = await guestmmu(["rmap", image, "0x4856000"]);
    expect(err).toBe("");
    expect(code).toBe(0);
    const rows = out.match(/^[0-9a-f]{16} +(4K|2M|1G) /gm)!;
    expect(rows.length).toBeGreaterThan(65_536);
    expect(rows.at(-1)).toBe("ffffff79ffff2000    4K ");
    const count = /\n([\d\u202f]+) mappings\n$/.exec(out)![1]!;
    expect(Number(count.replaceAll("\u202f", ""))).toBe(rows.length);
    expect(ms).toBeLessThan(20_000);
  });

  test.each([
    ["rmap", ["rmap", `${SAMPLES}lin-1g/vmcore-pt.elf.zst`, "0x4856000"]],
    ["diff", ["diff", KPTI, `${SAMPLES}lin-1g/vmcore-pt.elf.zst`]],
    ["read", ["read", "RAW", "0xffff888000000000", "16m", "--cr3", "0x100000"]],
  ])("%s ends quietly when its reader leaves", async (_, args) => {
    const { code, err } = await guestmmu(
      args.map((arg) => (arg === "RAW" ? raw : arg)),
      { closeAfter: 100 },
    );
    expect(err).toBe("");
    expect(code).toBe(0);
  });
});

describe("diff", () => {
  test("nothing changed", async () => {
    expect(await done("diff", KPTI, KPTI)).toBe("20 roots compared, 20 without a change\n");
  });

  test("what was added, removed, and mapped otherwise", async () => {
    const { memory, roots } = smallKernel();
    // Written to and moved; a second page; and a large page of the direct map that is read-only now.
    memory.map(roots[0], 0x40_0000n, 0x90_0000n, US | RW);
    memory.map(roots[0], 0x40_1000n, 0x90_1000n, US | RW);
    memory.map(roots[0], 0xffff_8880_0020_0000n, 0x20_0000n, XD, 2);
    memory.map(roots[1], 0x40_0000n, 0n, 0n);
    memory.setEntry(memory.map(roots[1], 0x40_0000n, 0n, 0n), 0, 0n);
    const other = file("other.raw");
    memory.writeTo(other);
    const { code, out } = await guestmmu(["diff", raw, other, "--cr3", "0x100000"]);
    expect(code).toBe(1);
    expect(out).toContain(
      "~ 0000000000400000-0000000000400fff  ur-x 4K 0000000000800000 -------U- -> urwx 4K 0000000000900000 -------UW  (frame, rights)\n" +
        "+ 0000000000401000-0000000000401fff  urwx 4K 0000000000901000 -------UW\n" +
        "~ ffff888000200000-ffff8880003fffff  -rw- 2M 0000000000200000 X-P-----W -> -r-- 2M 0000000000200000 X-P------  (rights)\n" +
        "3 changes\n",
    );
    const gone = await guestmmu(["diff", raw, other, "--cr3", "0x101000"]);
    expect(gone.out).toMatch(/^- 0000000000400000-0000000000400fff {2}ur-x 4K 0000000000801000/m);
    const all = await guestmmu(["diff", raw, other, "--json"]);
    expect(all.code).toBe(1);
    const document = JSON.parse(all.out) as {
      roots: { root: string; only_in: null; changes: { kind: string }[] }[];
    };
    expect(document.roots.map(({ root, changes }) => [root, changes.length])).toEqual([
      ["0x100000", 3],
      ["0x101000", 2],
    ]);
  });

  test("accessed and dirty flags count if asked for", async () => {
    const { memory, roots } = smallKernel();
    memory.map(roots[0], 0x40_0000n, 0x80_0000n, US | 0x20n);
    const other = file("accessed.raw");
    memory.writeTo(other);
    expect((await guestmmu(["diff", raw, other])).code).toBe(0);
    const { code, out } = await guestmmu(["diff", raw, other, "--accessed"]);
    expect(code).toBe(1);
    expect(out).toMatch(/-------U- -> .* ----A--U- {2}\(flags\)$/m);
  });
});

/** A copy of the sample with words of the note of CPU 0 changed. */
function withNote(name: string, change: (note: DataView) => void): string {
  const elf = Buffer.from(decompress(readFileSync(KPTI)));
  // The note of QEMU: 12 bytes of header, the name in 8, then version 1 and the size, 440.
  const at = elf.indexOf(Buffer.from("QEMU\0\0\0\0\x01\0\0\0\xb8\x01\0\0", "latin1")) + 8;
  change(new DataView(elf.buffer, elf.byteOffset + at));
  const path = file(name);
  writeFileSync(path, elf);
  return path;
}
const CR = 8 + 18 * 8 + 10 * 24;
const CS_FLAGS = 8 + 18 * 8 + 8;

describe("modes that are not walked are refused with a word", () => {
  const clear = (note: DataView, cr: number, bit: bigint): void =>
    note.setBigUint64(CR + 8 * cr, note.getBigUint64(CR + 8 * cr, true) & ~bit, true);

  test("no paging", async () => {
    const path = withNote("off.elf", (note) => clear(note, 0, 1n << 31n));
    const { code, err } = await guestmmu(["walk", path, STACK]);
    expect(code).toBe(2);
    expect(err).toMatch(/CPU 0 has paging off: CR0\.PG is clear\.\n +There are no tables to walk/);
    expect(await done("info", path)).toMatch(/^CPU 0 +no paging: CR0\.PG is clear$/m);
    // Its tables can be named all the same.
    expect(await done("walk", path, STACK, "--cr3", ROOT)).toMatch(/physical address 0x72e1d60/);
  });

  test("32-bit paging", async () => {
    const path = withNote("legacy.elf", (note) => clear(note, 4, 1n << 5n));
    const { code, err } = await guestmmu(["maps", path]);
    expect(code).toBe(2);
    expect(err).toMatch(/CPU 0 uses 32-bit paging: CR0\.PG is set, CR4\.PAE is clear\./);
  });

  test("PAE paging, unless EFER says otherwise", async () => {
    const path = withNote("pae.elf", (note) => {
      note.setUint32(CS_FLAGS, note.getUint32(CS_FLAGS, true) & ~(1 << 21), true);
      clear(note, 4, 1n << 17n);
      // What would show long mode by its width.
      for (const name of ["rip", "tr", "gdt", "idt"])
        note.setBigUint64(
          name === "rip" ? 8 + 16 * 8 : 8 + 18 * 8 + ["tr", "gdt", "idt"].indexOf(name) * 24 + 7 * 24 + 16,
          0n,
          true,
        );
    });
    const { code, err } = await guestmmu(["maps", path]);
    expect(code).toBe(2);
    expect(err).toMatch(/CPU 0 uses PAE paging: .*nothing shows long mode/);
    expect(err).toMatch(/--efer 0xd00/);
    expect(await done("walk", path, STACK, "--efer", "0xd01")).toMatch(/physical address 0x72e1d60/);
    expect((await guestmmu(["walk", KPTI, STACK, "--efer", "0x0"])).err).toMatch(
      /EFER\.LMA is clear as given/,
    );
  });
});

describe("what cannot be done is said, with exit code 2 and no stack", () => {
  const cases: readonly [string, () => string[], RegExp][] = [
    ["no such file", () => ["info", file("none.raw")], /none\.raw/],
    ["a folder", () => ["info", folder], /guestmmu: /],
    [
      "an address without 0x",
      () => ["walk", KPTI, "ffff888000000000"],
      /GVA: "ffff888000000000" is not a number\.\n.*Write hexadecimal digits as 0xffff888000000000/,
    ],
    [
      "an address that is none",
      () => ["walk", KPTI, "stack"],
      /GVA: "stack" is not a number\.\n +GVA takes a virtual address below 2\^64/,
    ],
    [
      "an address of 65 bits",
      () => ["walk", KPTI, "0x10000000000000000"],
      /GVA: 0x10000000000000000 is not below 2\^64/,
    ],
    ["digits without end", () => ["walk", KPTI, "9".repeat(5000)], /GVA: 9{60}\.\.\. is not below 2\^64/],
    [
      "a physical address of 53 bits",
      () => ["rmap", KPTI, "0x10000000000000"],
      /PA: 0x10000000000000 is not below 2\^52/,
    ],
    [
      "a root outside of the image",
      () => ["walk", KPTI, STACK, "--cr3", "0xfffff000"],
      /does not hold the page of the root 0xfffff000 \(as given\)/,
    ],
    [
      "a CPU that is not there",
      () => ["walk", KPTI, STACK, "--cpu", "7"],
      /no note of CPU 7\.\n +The image has notes of CPUs 0, 1/,
    ],
    ["a CPU of an image without notes", () => ["maps", raw, "--cpu", "0"], /The image has no notes of CPUs/],
    [
      "two roots",
      () => ["walk", KPTI, STACK, "--cpu", "0", "--cr3", ROOT],
      /--cr3 and --cpu both name a root/,
    ],
    [
      "two nested roots",
      () => ["walk", NESTED, STACK, "--ncr3", "0x1000", "--eptp", "0x1000"],
      /--ncr3 and --eptp both name/,
    ],
    ["a kind of access", () => ["walk", KPTI, STACK, "--access", "q"], /--access: cannot use "q"/],
    ["a privilege level", () => ["walk", KPTI, STACK, "--cpl", "4"], /--cpl: cannot use "4"/],
    ["levels", () => ["walk", KPTI, STACK, "--levels", "3"], /--levels: cannot use "3"/],
    ["a width", () => ["walk", KPTI, STACK, "--maxphyaddr", "64"], /--maxphyaddr: cannot use "64"/],
    [
      "three levels",
      () => ["walk", KPTI, STACK, "--levels", "3"],
      /--levels takes one whole number from 4 to 5\./,
    ],
    ["two levels", () => ["walk", KPTI, STACK, "--levels", "4,5"], /--levels takes one whole number from 4/],
    ["a CPU below 0", () => ["walk", KPTI, STACK, "--cpu", "-1"], /--cpu takes one whole number from 0 to/],
    ["half a CPL", () => ["walk", KPTI, STACK, "--cpl", "1.5"], /--cpl takes one whole number from 0 to 3/],
    ["31 bits", () => ["walk", KPTI, STACK, "--maxphyaddr", "31"], /takes one whole number from 32 to 52/],
    [
      "a PKRU of 33 bits",
      () => ["walk", KPTI, STACK, "--pkru", "0x100000000"],
      /--pkru: 0x100000000 is not below 2\^32\./,
    ],
    ["a VMCB that is not there", () => ["walk", KPTI, STACK, "--nested"], /--nested found no VMCB/],
    [
      "a nested root that is not there",
      () => ["walk", NESTED, STACK, "--ncr3", "0x5000", "--cr3", "0x1000"],
      /page of the nested root 0x5000/,
    ],
    [
      "a nested root without its guest's",
      () => ["walk", NESTED, STACK, "--eptp", "0x13c4a01e"],
      /root of the guest is not known/,
    ],
    [
      "an EPT pointer with 3 levels",
      () => ["walk", NESTED, STACK, "--eptp", "0x13c4a016", "--cr3", "0x1000"],
      /has 3 levels in bits 5:3/,
    ],
    ["the outer root of a nested image", () => ["maps", NESTED], /The VMCB at 0x13800000 has the same CR3/],
    ["two forms", () => ["maps", KPTI, "--json", "--csv"], /--json and --csv are two forms/],
    ["a way to fold", () => ["maps", KPTI, "--fold", "all"], /--fold: cannot use "all"/],
    ["a range upside down", () => ["maps", KPTI, "--from", "2", "--to", "1"], /--from: 2 is above --to, 1/],
    [
      "all roots and one",
      () => ["maps", KPTI, "--all-roots", "--cr3", ROOT],
      /--all-roots lists what every root maps/,
    ],
    ["a length of nothing", () => ["read", KPTI, STACK, "0"], /LENGTH: "0" is not a length/],
    ["a length beyond the end", () => ["read", KPTI, "0xfffffffffffff000", "8k"], /end beyond 2\^64/],
    [
      "two forms of bytes",
      () => ["read", KPTI, STACK, "8", "--raw", "--json"],
      /are forms of the same bytes/,
    ],
    ["a missing argument", () => ["read", KPTI, STACK], /missing required argument 'length'/],
    ["an option that is not there", () => ["walk", KPTI, STACK, "--cr2", "0"], /unknown option '--cr2'/],
  ];
  test.each(cases)("%s", async (_, args, message) => {
    const { code, out, err } = await guestmmu(args());
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^ +at /m);
    expect(out).toBe("");
    expect(code).toBe(2);
  });

  test("an image in which nothing is found", async () => {
    const empty = file("zero.raw");
    writeFileSync(empty, Buffer.alloc(1 << 20));
    const { code, err } = await guestmmu(["maps", empty]);
    expect(code).toBe(2);
    expect(err).toMatch(/no page-table root of 4 or 5 levels was found/);
    expect(await done("info", empty)).toMatch(/^page-table roots: 0 found\.$/m);
  });

  test("files that are cut off, or no images at all", async () => {
    const elf = decompress(readFileSync(KPTI));
    for (const length of [1, 16, 63, 64, 200, 0x1200, 200_000]) {
      const path = file(`cut-${length}.elf`);
      writeFileSync(path, elf.subarray(0, length));
      const { code, err } = await guestmmu(["info", path]);
      expect([0, 2], `${length} bytes: ${err}`).toContain(code);
      expect(err).not.toMatch(/^ +at /m);
    }
  });
});

describe("memory that no kernel made", () => {
  test("tables that refer to themselves are listed to the end of the levels, and no further", async () => {
    const memory = new BuiltMemory(1n << 20n, 0x1000n);
    const root = memory.table();
    // A recursive entry, as some kernels have it, and beside it a table of its own.
    memory.setEntry(root, 511, root | P | RW);
    memory.map(root, 0x1000n, 0x2000n, RW);
    const path = file("loop.raw");
    memory.writeTo(path);
    const out = await done("maps", path, "--cr3", "0x1000", "--fold", "none");
    // Through the recursive entry each table is mapped as a page: the root, and the three below it.
    expect(out).toMatch(/^fffffffffffff000-ffffffffffffffff .* 0000000000001000/m);
    expect(out).toMatch(/^5 rows$/m);
    expect(await done("info", path)).toMatch(/entry 511 refers to the table itself: a recursive mapping/);
  });

  test(
    "every entry refers to the table itself: the listing ends, in bounded memory",
    { timeout: 50_000 },
    async () => {
      const memory = new BuiltMemory(1n << 20n, 0x1000n);
      const root = memory.table();
      for (let i = 0; i < 512; i++) memory.setEntry(root, i, root | P | RW | US);
      const path = file("loops.raw");
      memory.writeTo(path);
      const { code, out } = await guestmmu([
        "maps",
        path,
        "--cr3",
        "0x1000",
        "--fold",
        "none",
        "--max-rows",
        "20000",
      ]);
      expect(code).toBe(4);
      expect(out).toMatch(/^20000 rows$/m);
      expect(await done("walk", path, "0x123456789abc", "--cr3", "0x1000")).toMatch(
        /physical address 0x1abc/,
      );
      const found = await done("rmap", path, "0x1000", "--cr3", "0x1000");
      expect(found).toMatch(/\n1.000.000 mappings, and more: the search ended there, at 1.000.000 /);
    },
  );

  test("tables beyond the image are marked gaps", async () => {
    const memory = new BuiltMemory(1n << 20n, 0x1000n);
    const root = memory.table();
    memory.map(root, 0x1000n, 0x2000n, RW);
    memory.setEntry(root, 7, (1n << 40n) | P | RW);
    const path = file("gap.raw");
    memory.writeTo(path);
    const out = await done("maps", path, "--cr3", "0x1000", "--fold", "none");
    expect(out).toMatch(
      /^0000038000000000-000003ffffffffff +512G +- +-rwx +0000010000000000 .*\(table not in the image\)$/m,
    );
    expect(await done("walk", path, "0x38000000000", "--cr3", "0x1000")).toMatch(
      /cannot be followed to its end, because physical address 0x10000000000/,
    );
    expect(await done("read", path, "0x38000000000", "16", "--cr3", "0x1000")).toMatch(
      /a table is not in the image/,
    );
  });

  test("64 GiB, almost all of it a hole", { timeout: 50_000 }, async () => {
    const { memory, roots } = smallKernel(64n << 30n, 50n << 30n);
    const path = file("sparse.raw");
    memory.writeTo(path);
    expect(statSync(path).size).toBe(64 * 2 ** 30);
    expect(statSync(path).blocks * 512).toBeLessThan(1 << 20);
    const root = `0x${roots[0].toString(16)}`;
    expect(await done("walk", path, "0x400000", "--cr3", root)).toMatch(/physical address 0x800000/);
    const maps = await done("maps", path, "--cr3", root);
    expect(maps).toMatch(/^ffff888000000000-ffff888fffffffff +64G +-rw-$/m);
    const info = await done("info", path);
    expect(info).toMatch(/^page-table roots: 2 found\.$/m);
    expect(info).toMatch(new RegExp(`^${root} `, "m"));
  });
});

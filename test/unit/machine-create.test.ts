import { describe, expect, test } from "vitest";
import {
  ABI_VERSION,
  HEADER_BASE,
  MACHINE_SIZE_MAX,
  MM_BASE,
  MM_MMAP_LOCK,
} from "../../src/core/layout.generated.js";
import { compileModule } from "../../src/core/module.js";
import { Machine, MACHINE_LIMITS, RULES, type Hva, type MachineOptions } from "../../src/index.js";
import {
  closeBooks,
  expectBalanced,
  machineInLongMode,
  machineWithSlot,
  MIB,
  PAGE,
  refused,
} from "./machine-fixture.js";

const shared = (initial: number, maximum = 65536): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial, maximum, shared: true });

describe("a machine", () => {
  test("has the defaults that MACHINE_LIMITS tells", () => {
    const { configuration } = Machine.create();
    const {
      frames,
      vcpus,
      hostThreads,
      slots,
      vmas,
      batchSize,
      windows,
      maxphyaddr,
      spinLimit,
      entries,
      files,
      filePages,
    } = MACHINE_LIMITS;
    expect(configuration).toMatchObject({
      frames: frames.standard,
      vcpus: vcpus.standard,
      hostThreads: hostThreads.standard,
      slots: slots.standard,
      vmas: vmas.standard,
      batchSize: batchSize.standard,
      windows: windows.standard,
      files: files.standard,
      filePages: filePages.standard,
      maxphyaddr: maxphyaddr.standard,
      spinLimit: spinLimit.standard,
      tlb: { entries: entries.standard },
      profile: "v6.13",
      rulesOff: [],
    });
  });

  test("reads back the configuration it was given", () => {
    const options = {
      frames: 300,
      vcpus: 3,
      hostThreads: 2,
      slots: 5,
      vmas: 7,
      tlb: { entries: 2, largeEntries: 1, walkCacheEntries: 4, structureEntries: 8 },
      batchSize: 8192,
      windows: 3,
      files: 2,
      filePages: 17,
      profile: "v5.4",
      maxphyaddr: 39,
      spinLimit: 7,
      prefetch: 0,
      refcountLimit: 99,
      zeroPages: false,
      poison: true,
      spinOnRetry: true,
      eptAccessedDirty: false,
      page1GB: false,
      hugePages: false,
      tlbMode: "architectural",
      sharedZeroPage: true,
      rulesOff: ["SeqChecked", "RangeOfAllOpen"],
    } as const;
    const machine = Machine.create({ ...options, module: "lab" });
    expect(machine.configuration).toEqual(options);
    expect(Machine.attach(machine.memory, "lab").configuration).toEqual(options);
  });

  test("has an architectural TLB in a lab module only", () => {
    expect(
      Machine.create({ frames: 64, module: "lab", tlbMode: "architectural" }).configuration.tlbMode,
    ).toBe("architectural");
    refused("CONFIG_INVALID", () => Machine.create({ frames: 64, tlbMode: "architectural" }));
    refused("CONFIG_INVALID", () => Machine.create({ frames: 64, tlbMode: "lazy" as never }));
    refused("CONFIG_INVALID", () => Machine.create({ frames: 64, tlb: { structureEntries: 8 } }));
  });

  test("takes host memory in bytes", () => {
    expect(Machine.create({ hostMemory: 4 * MIB }).configuration.frames).toBe(1024);
  });

  test("about a MiB is enough", () => {
    const machine = Machine.create({ frames: 128, batchSize: PAGE, slots: 8, vmas: 8, tlb: { entries: 64 } });
    expect(machine.size).toBeLessThan(MIB);
    const hva = machine.mm.mmap(16 * PAGE);
    machine.memslots.add({ gpa: 0, hva, length: 16 * PAGE });
    expect(machine.vcpu().write(0x1000, 1).kind).toBe("ok");
    expectBalanced(machine);
  });

  test("and 3.9 GiB can be had without touching them", () => {
    const machine = Machine.create({ frames: 990_000 });
    expect(machine.size).toBeGreaterThan(3.8 * 1024 * MIB);
    expect(machine.size).toBeLessThanOrEqual(Number(MACHINE_SIZE_MAX));
    expect(machine.mm.statistics().freeFrames).toBeGreaterThan(989_000);
    machine.dispose();
  });

  test("with 1 TiB for the guest takes no more than with 1 GiB", () => {
    const sizes = [1n << 30n, 1n << 40n].map((length) => {
      const { machine } = machineWithSlot({}, Number(length));
      expect(machine.vcpu().write(length - 8n, 1n).kind).toBe("ok");
      return {
        size: machine.size,
        bytes: machine.memory.buffer.byteLength,
        free: machine.mm.statistics().freeFrames,
      };
    });
    expect(sizes[1]).toEqual(sizes[0]);
  });

  test("hands out one view of each vCPU", () => {
    const machine = Machine.create({ frames: 64, vcpus: 2 });
    expect(machine.vcpus.map(({ index }) => index)).toEqual([0, 1]);
    expect(machine.vcpu(1)).toBe(machine.vcpus[1]);
    for (const index of [-1, 2, 0.5, NaN, "0" as unknown as number])
      refused("USAGE", () => machine.vcpu(index));
  });

  test("opens asynchronously as well", async () => {
    const machine = await Machine.open({ frames: 64 });
    expect(machine.vcpu().index).toBe(0);
    await expect(Machine.open({ frames: 1 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("answers nothing once it is disposed of, whatever view one asks", () => {
    const { machine, vcpu, hva, tables } = machineInLongMode({ module: "lab", frames: 128 }, 2 * MIB);
    const { lab, mm, memslots, guestMemory } = machine;
    const fault = lab!.beginFault(0, 0);
    machine.dispose();
    machine.dispose();
    expect(machine.disposed).toBe(true);
    const uses = [
      () => vcpu.read(0),
      () => vcpu.get("cr0"),
      () => vcpu.set("cr3", 0),
      () => vcpu.translate(0),
      () => vcpu.statistics(),
      () => vcpu.invlpg(0),
      () => vcpu.tlb(),
      () => vcpu.get("cr2"),
      () => vcpu.set("cr2", 0),
      () => vcpu.onMmio(null),
      () => vcpu.runRecords(new Uint8Array(0)),
      () => vcpu.runAccesses(new Uint8Array(0)),
      () => vcpu.translateMany(new BigUint64Array(0)),
      () => vcpu.enterLongMode(tables),
      () => vcpu.flushTlb(),
      () => vcpu.interrupt(),
      () => tables.map({ gva: 0, gpa: 0, length: PAGE }),
      () => tables.entry(0),
      () => mm.mmap(PAGE),
      () => mm.read(hva, 1),
      () => mm.read(hva, 0),
      () => mm.write(hva, new Uint8Array(0)),
      () => mm.list(),
      () => mm.countImbalances(),
      () => mm.statistics(),
      () => memslots.list(),
      () => memslots.delete(0),
      () => memslots.generation,
      () => guestMemory.load(0),
      () => guestMemory.write(0, new Uint8Array(0)),
      () => machine.size,
      () => machine.configuration,
      () => machine.core,
      () => machine.vcpus,
      () => machine.secondaryCounts(),
      () => lab!.invalidateSeq,
      () => machine.vcpu(0),
      () => machine.statistics(),
      () => machine.save(),
      () => machine.clone(),
      () => machine.unloadGuest(),
      () => machine.memory,
      () => machine.module,
      () => machine.guestTables({ at: 0 }),
      () => machine.secondaryLeaf(0),
      () => lab!.invalidateStart(hva, PAGE),
      () => lab!.beginFault(0, 0),
      () => fault.snapshot(),
      () => fault.end(),
    ];
    for (const use of uses) refused("DISPOSED", use);
  });
});

describe("bad configurations", () => {
  const bad: Record<string, MachineOptions> = {
    "no frames": { frames: 0 },
    "half a frame": { frames: 64.5 },
    "negative frames": { frames: -1 },
    "frames that are no number": { frames: "64" as unknown as number },
    "not a number": { frames: NaN },
    "frames and bytes": { frames: 64, hostMemory: 64 * PAGE },
    "bytes that are no pages": { hostMemory: MIB + 1 },
    "too much": { frames: MACHINE_LIMITS.frames.maximum + 1 },
    "more than 3.9 GiB": { frames: 1_000_000, batchSize: 1 << 24, vcpus: 64 },
    "no vCPU": { vcpus: 0 },
    "too many vCPUs": { vcpus: 257 },
    "no host thread": { hostThreads: 0 },
    "too many slots": { slots: 32769 },
    "a TLB that is no power of two": { tlb: { entries: 3 } },
    "an empty TLB": { tlb: { entries: 0 } },
    "a TLB that is no object": { tlb: 5 as unknown as object },
    "a misspelt part of the TLB": { tlb: { size: 4 } as object },
    "a batch of odd bytes": { batchSize: 5000 },
    "a narrow processor": { maxphyaddr: 31 },
    "a wide processor": { maxphyaddr: 53 },
    "an unknown profile": { profile: "v4.20" as "v5.4" },
    "a profile that every object has": { profile: "toString" as "v5.4" },
    "an option that is no boolean": { poison: 1 as unknown as boolean },
    "an unknown option": { vcpu: 2 } as object,
    "no object": null as unknown as MachineOptions,
    "an unknown rule": { module: "lab", rulesOff: ["NoSuchRule" as "SeqChecked"] },
    "rules that are no list": { module: "lab", rulesOff: "SeqChecked" as unknown as [] },
    "rules left out of a release module": { rulesOff: ["SeqChecked"] },
    "no module": { module: "debug" as "lab" },
    "no memory": { memory: {} as WebAssembly.Memory },
  };
  test.each(Object.entries(bad))("%s", (_, options) => {
    refused("CONFIG_INVALID", () => Machine.create(options));
  });

  test("every rule can be left out of a lab module, alone and all together", () => {
    const names = RULES.map(({ name }) => name);
    for (const name of names) {
      expect(
        Machine.create({ module: "lab", frames: 64, rulesOff: [name, name] }).configuration.rulesOff,
      ).toEqual([name]);
    }
    expect(Machine.create({ module: "lab", frames: 64, rulesOff: names }).configuration.rulesOff).toEqual(
      names,
    );
  });
});

describe("a memory of the embedder's", () => {
  test("serves if it is shared, empty and can grow", () => {
    const memory = shared(1);
    const machine = Machine.create({ frames: 64, memory });
    expect(machine.memory).toBe(memory);
    expect(memory.buffer.byteLength).toBeGreaterThanOrEqual(machine.size);
  });

  test("has to be shared", () => {
    refused("MEMORY_NOT_SHARED", () =>
      Machine.create({ memory: new WebAssembly.Memory({ initial: 1, maximum: 65536 }) }),
    );
  });

  test("has to be able to grow", () => {
    refused("MEMORY_TOO_SMALL", () => Machine.create({ frames: 1024, memory: shared(1, 16) }));
    refused("MEMORY_TOO_SMALL", () => Machine.create({ frames: 64, memory: shared(0, 0) }));
  });

  test("has to be unused, and stays usable after a refused configuration", () => {
    const memory = shared(1);
    refused("CONFIG_INVALID", () => Machine.create({ ...bigMachine, memory }));
    Machine.create({ frames: 64, memory });
    refused("CONFIG_INVALID", () => Machine.create({ frames: 64, memory }));
  });
  const bigMachine = { frames: 1_000_000, batchSize: 1 << 24, vcpus: 64 };
});

describe("the embed module", () => {
  test("makes the same machine on memory that is not shared", () => {
    const { machine, vcpu, tables } = machineInLongMode({ module: "embed", files: 4, vcpus: 2 });
    expect(machine.memory.buffer).toBeInstanceOf(ArrayBuffer);
    tables.map({ gva: 0x40_0000, gpa: 4 * MIB, length: 64 * PAGE });
    for (let i = 0; i < 64; i++) expect(vcpu.write(0x40_0000 + i * PAGE, BigInt(i) + 1n).kind).toBe("ok");
    expect(vcpu.add(0x40_0000, 41n)).toEqual({ kind: "ok", value: 1n });
    machine.mm.madviseDontneed((machine.memslots.list()[0]!.hva + (4n << 20n)) as Hva, 32 * PAGE);
    expect(vcpu.read(0x40_0000)).toEqual({ kind: "ok", value: 0n });
    expect(vcpu.read(0x40_0000 + 63 * PAGE)).toEqual({ kind: "ok", value: 64n });
    machine.memslots.delete(machine.memslots.list()[0]!.id);
    expect(vcpu.read(0x40_0000).kind).toBe("mmio");
    machine.unloadGuest();
    const copy = Machine.restore(machine.save(), { module: "release" });
    expect(copy.memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    expectBalanced(machine);
  });

  test("has no shared memory, and the others have no other", () => {
    refused("CONFIG_INVALID", () => Machine.create({ module: "embed", memory: shared(1) }));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const machine = Machine.create({ module: "embed", frames: 64, memory });
    expect(Machine.attach(memory, "embed").configuration).toEqual(machine.configuration);
    refused("MEMORY_NOT_SHARED", () => Machine.attach(memory, "release"));
  });

  test("traps where it would have to wait", () => {
    const { machine } = machineWithSlot({ module: "embed" });
    // mmap_lock, held by somebody who is not there.
    new DataView(machine.memory.buffer).setUint32(MM_BASE + MM_MMAP_LOCK, 99, true);
    expect(refused("CORE_TRAP", () => machine.mm.mmap(PAGE)).message).toContain("WouldWait");
    machine.dispose();
  });
});

describe("attach", () => {
  test("sees and drives the same machine", () => {
    const { machine, vcpu } = machineWithSlot({ vcpus: 2, hostThreads: 2 });
    vcpu.write(0x2000, 99);
    const other = Machine.attach(machine.memory, machine.module, { hostThread: 1 });
    expect(other.configuration).toEqual(machine.configuration);
    expect(other.vcpu(1).read(0x2000)).toEqual({ kind: "ok", value: 99n });
    other.memslots.add({ gpa: 64 * MIB, hva: other.mm.mmap(PAGE), length: PAGE });
    expect(machine.memslots.count).toBe(2);
    other.dispose();
    expect(machine.vcpu(0).read(0x2000)).toEqual({ kind: "ok", value: 99n });
    expectBalanced(machine);
  });

  test.each([-1, 1, 1.5])("refuses host thread %s of one", (hostThread) => {
    const { memory, module } = Machine.create({ frames: 64 });
    refused("USAGE", () => Machine.attach(memory, module, { hostThread }));
  });

  test("refuses a memory without a machine, or that is not shared", () => {
    const module = compileModule("release");
    refused("MODULE_MISMATCH", () => Machine.attach(shared(1), module));
    refused("MODULE_MISMATCH", () => Machine.attach(shared(0), module));
    refused("MEMORY_NOT_SHARED", () => Machine.attach(new WebAssembly.Memory({ initial: 1 }), module));
    refused("CONFIG_INVALID", () => Machine.attach({} as WebAssembly.Memory, module));
  });

  test("refuses a machine of another ABI version", () => {
    const { memory, module } = Machine.create({ frames: 64 });
    const words = new Uint32Array(memory.buffer);
    // The version stands behind the magic (assembly/layout/header.ts): find it by its value.
    const at = [0, 1, 2, 3].map((i) => HEADER_BASE / 4 + i).find((i) => words[i] === ABI_VERSION)!;
    words[at] = ABI_VERSION + 1;
    expect(refused("MODULE_MISMATCH", () => Machine.attach(memory, module)).message).toContain("version");
  });

  test.each([
    ["release", "lab"],
    ["lab", "release"],
  ] as const)("refuses, for a machine that a %s module made, a %s module", (made, other) => {
    const { memory, module } = Machine.create({ frames: 64, module: made });
    const { message } = refused("MODULE_MISMATCH", () => Machine.attach(memory, other));
    expect(message).toContain(`made by a ${made} module; this is a ${other} module`);
    expect(Machine.attach(memory, made).module).toBe(module);
  });

  test("a restored or cloned machine is of the build that holds it", () => {
    const machine = Machine.create({ frames: 64 });
    const restored = Machine.restore(machine.save(), { module: "lab" });
    refused("MODULE_MISMATCH", () => Machine.attach(restored.memory, "release"));
    expect(Machine.attach(restored.memory, "lab").lab).not.toBeNull();
    refused("MODULE_MISMATCH", () => Machine.attach(restored.clone().memory, "release"));
  });

  test("refuses a release module for a machine without some rule", () => {
    const { memory } = Machine.create({ frames: 64, module: "lab", rulesOff: ["SeqChecked"] });
    refused("MODULE_MISMATCH", () => Machine.attach(memory, "release"));
    expect(Machine.attach(memory, "lab").configuration.rulesOff).toEqual(["SeqChecked"]);
  });
});

test("the fixture finds a reference that a machine has too many, whoever made the machine", () => {
  for (const make of [
    () => Machine.create({ frames: 64 }),
    () => Machine.create({ frames: 64 }).clone(),
    () => Machine.restore(Machine.create({ frames: 64 }).save()),
  ]) {
    const machine = make();
    const hva = machine.mm.mmap(PAGE);
    machine.mm.populate(hva, PAGE);
    machine.core.calls.hostGetPage(1, machine.mm.mapping(hva)!.pfn);
    expect(closeBooks).toThrow();
  }
});

test("the library entry imports neither Piscina nor commander, and nothing of the command line", async () => {
  const { readFileSync } = await import("node:fs");
  const seen = new Set<string>();
  const packages = new Set<string>();
  const follow = (url: URL): void => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    for (const [, from] of readFileSync(url, "utf8").matchAll(
      /(?:(?<=[}\w*]\s)from|(?<!typeof )import\()\s*"([^"]+)"/g,
    )) {
      if (from!.startsWith(".")) follow(new URL(from!.replace(/\.js$/, ".ts"), url));
      else packages.add(from!);
    }
  };
  follow(new URL("../../src/index.ts", import.meta.url));
  expect([...packages]).toEqual(["@assemblyscript/loader"]);
  expect([...seen].filter((href) => /\/src\/(cli|workers|measure|report|trace)\//.test(href))).toEqual([]);
});

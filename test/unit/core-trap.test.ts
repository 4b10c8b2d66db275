import { describe, expect, test } from "vitest";
import { HEADER_ABORT, KVM_INVALIDATE_IN_PROGRESS, Trap } from "../../src/core/layout.generated.js";
import { readTrap, TRAP_SENTENCES } from "../../src/core/trap.js";
import { Machine } from "../../src/index.js";
import { machineWithSlot, refused } from "./machine-fixture.js";

describe("sentences", () => {
  test("there is one for each enumerator, and no other", () => {
    expect(Object.keys(TRAP_SENTENCES).sort()).toEqual(Object.keys(Trap).sort());
    const sentences = Object.values(TRAP_SENTENCES).map(({ sentence }) => sentence);
    expect(new Set(sentences).size).toBe(sentences.length);
    for (const sentence of sentences) expect(sentence).toMatch(/^\S.*[^.]$/);
  });
});

describe("a trap of the core", () => {
  test("says what, which page and who; then nothing else is answered", () => {
    const { machine, vcpu } = machineWithSlot();
    const { calls } = machine.core;
    const error = refused("CORE_TRAP", () => calls.hostPutPage(0, 3));
    // pfn 3 is in use by a table or free: put it until its count is used up.
    expect(error.message).toContain("pfn 0x3");
    expect(error.message).toContain("vCPU 0");
    expect(error.cause).toBeInstanceOf(WebAssembly.RuntimeError);
    expect(refused("CORE_TRAP", () => vcpu.read(0))).toBe(error);
    expect(refused("CORE_TRAP", () => machine.mm.mmap(4096))).toBe(error);
    refused("CORE_TRAP", () => machine.save());
    expect(readTrap(new DataView(machine.memory.buffer))).toMatchObject({
      name: "RefcountUnderflow",
      argument: 3n,
    });
  });

  test("ends the waits of other threads", () => {
    const { machine } = machineWithSlot();
    refused("CORE_TRAP", () => machine.core.calls.hostPutPage(0, 1000));
    expect(new Uint32Array(machine.memory.buffer)[HEADER_ABORT / 4]).toBe(1);
  });

  test("names a host thread", () => {
    const { machine } = machineWithSlot({ hostThreads: 2, vcpus: 2 });
    expect(refused("CORE_TRAP", () => machine.core.calls.hostPutPage(3, 1000)).message).toContain(
      "host thread 1",
    );
  });

  test("a wait that was ended is ABORTED, not a defect", () => {
    const { machine, vcpu } = machineWithSlot({ module: "lab" });
    machine.mm.populate(machine.memslots.get(0)!.hva, 4096);
    // An invalidation that nobody will end, as after the death of its thread: the fault waits for it.
    const words = new Uint32Array(machine.memory.buffer);
    words[KVM_INVALIDATE_IN_PROGRESS / 4] = 1;
    words[HEADER_ABORT / 4] = 1;
    expect(refused("ABORTED", () => vcpu.read(0)).message).toContain("vCPU 0 was waiting");
  });

  test("a machine that has not trapped has no record", () => {
    expect(readTrap(new DataView(Machine.create({ frames: 64 }).memory.buffer))).toBeNull();
  });
});

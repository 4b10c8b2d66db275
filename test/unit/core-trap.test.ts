import { describe, expect, test } from "vitest";
import { Access, HEADER_ABORT, KVM_INVALIDATE_IN_PROGRESS, Trap } from "../../src/core/layout.generated.js";
import { readTrap, TRAP_SENTENCES } from "../../src/core/trap.js";
import { Machine } from "../../src/index.js";
import { machineWithSlot, refused, type Fixture } from "./machine-fixture.js";

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
    machine.dispose();
  });

  test("ends the waits of other threads", () => {
    const { machine } = machineWithSlot();
    refused("CORE_TRAP", () => machine.core.calls.hostPutPage(0, 1000));
    expect(new Uint32Array(machine.memory.buffer)[HEADER_ABORT / 4]).toBe(1);
    machine.dispose();
  });

  test("names a host thread", () => {
    const { machine } = machineWithSlot({ hostThreads: 2, vcpus: 2 });
    expect(refused("CORE_TRAP", () => machine.core.calls.hostPutPage(3, 1000)).message).toContain(
      "host thread 1",
    );
    machine.dispose();
  });

  test("a wait that was ended is ABORTED, not a defect", () => {
    const { machine } = machineWithSlot({ module: "lab" });
    machine.mm.populate(machine.memslots.get(0)!.hva, 4096);
    // An invalidation that nobody will end, as after the death of its thread: the fault waits for it.
    const words = new Uint32Array(machine.memory.buffer);
    words[KVM_INVALIDATE_IN_PROGRESS / 4] = 1;
    words[HEADER_ABORT / 4] = 1;
    // Past the view, which would not let the access begin.
    const read = (): number => machine.core.calls.vcpuLoad(0, 0n, 8, Access.Read);
    expect(refused("ABORTED", read).message).toContain("vCPU 0 was waiting");
    machine.dispose();
  });

  /** Everything that acts; what only looks goes on. */
  function expectEnded(code: "ABORTED" | "CORE_TRAP", { machine, vcpu, hva }: Fixture, says: string): void {
    for (const act of [
      () => vcpu.read(0),
      () => vcpu.runRecords(new Uint8Array(0)),
      () => vcpu.translate(0),
      () => vcpu.set("cr2", 0),
      () => machine.mm.mmap(4096),
      () => machine.mm.load(hva),
      () => machine.memslots.delete(0),
      () => machine.guestMemory.load(0),
      () => machine.save(),
      () => machine.clone(),
      () => machine.unloadGuest(),
      () => machine.lab!.beginFault(0, 0),
      () => machine.lab!.invalidateStart(hva, 4096),
    ])
      expect(refused(code, act).message).toContain(says);
    expect(machine.statistics().accesses).toBe(1n);
    expect(machine.configuration.vcpus).toBe(1);
    expect(vcpu.tlb().used).toBe(1);
    machine.dispose();
  }

  test("of another thread ends this thread's view too", () => {
    const fixture = machineWithSlot({ module: "lab", frames: 128 });
    fixture.vcpu.write(0, 1);
    const other = Machine.attach(fixture.machine.memory, "lab");
    refused("CORE_TRAP", () => other.core.calls.hostPutPage(0, 100));
    other.dispose();
    expectEnded("CORE_TRAP", fixture, "pfn 0x64");
  });

  test("nor does anything go on after an abort, the death of a thread", () => {
    const fixture = machineWithSlot({ module: "lab", frames: 128 });
    fixture.vcpu.write(0, 1);
    Atomics.store(new Uint32Array(fixture.machine.memory.buffer), HEADER_ABORT / 4, 1);
    expectEnded("ABORTED", fixture, "machine was aborted");
  });

  test("a machine that has not trapped has no record", () => {
    expect(readTrap(new DataView(Machine.create({ frames: 64 }).memory.buffer))).toBeNull();
  });
});

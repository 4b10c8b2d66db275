// The explored modules do what the shipped ones do: the same calls on equal machines, one through the plain module, one
// through the instrumented module, running through or suspended before every single access, leave the same results and
// the same memory, to the byte.
import fc from "fast-check";
import { expect, test } from "vitest";
import { ABI, LAB_ABI } from "../../src/core/abi.js";
import { exploredModule, type ExploredBuild } from "../../src/explore/core.js";
import { HEADER_OFFSET_SIZE } from "../../src/core/layout.generated.js";
import { At, FREE, Runner, type RunEnd, type Watcher } from "../../src/explore/runner.js";
import { KvmMachine, Profile } from "../kvm-machine.js";
import { type HostConfiguration } from "../host-machine.js";

type Value = number | bigint;
/** Calls an export and returns what it returned, unsigned. */
type Caller = (name: keyof typeof ABI, ...args: Value[]) => Value;

const PAGE = 4096n;
const HVA = 0x10_0000_0000n;
const GFN = 16n;
/** Pages of the address space that sequences are about: mapped at first, all in one memslot. */
const PAGES = 16;

/** One thing that is done; it may look at results. */
type Operation = (call: Caller) => Value[];

const page = fc.integer({ min: 0, max: PAGES - 1 }).map(BigInt);
const pages = fc.integer({ min: 1, max: 4 }).map(BigInt);
const value = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const size = fc.constantFrom(1, 2, 4, 8);
const vcpu = fc.constantFrom(0, 1);
const small = fc.integer({ min: 0, max: 3 });
const HOST = 2;

const hva = (p: bigint): bigint => HVA + p * PAGE;
const gpa = (p: bigint): bigint => (GFN + p) * PAGE;

function one<T extends unknown[]>(
  values: { [I in keyof T]: fc.Arbitrary<T[I]> },
  make: (call: Caller, ...drawn: T) => Value[],
): fc.Arbitrary<Operation> {
  return fc.tuple(...values).map((drawn) => (call) => make(call, ...(drawn as T)));
}

const operation: fc.Arbitrary<Operation> = fc.oneof(
  one([page, pages, fc.constantFrom(1, 3, 7)], (call, p, n, flags) => [
    call("hostMmap", HOST, hva(p), n * PAGE, flags, 12),
  ]),
  one([page, pages], (call, p, n) => [call("hostMunmap", HOST, hva(p), n * PAGE)]),
  one([page, pages, fc.constantFrom(0, 1, 3)], (call, p, n, flags) => [
    call("hostMprotect", HOST, hva(p), n * PAGE, flags),
  ]),
  one([page, pages], (call, p, n) => [call("hostDontneed", HOST, hva(p), n * PAGE)]),
  one([page, pages, fc.constantFrom(0, 1)], (call, p, n, write) => [
    call("hostTouch", HOST, hva(p), n * PAGE, write),
  ]),
  one([page, size, value], (call, p, bytes, v) => [call("hostStore", HOST, hva(p) + 8n, bytes, v)]),
  one([page, size], (call, p, bytes) => [
    call("hostLoad", HOST, hva(p) + 8n, bytes),
    call("hostLoadStatus", HOST),
  ]),
  one([page, fc.constantFrom(0, 1)], (call, p, write) => {
    const pfn = call("hostGupFast", HOST, hva(p), write);
    if (pfn !== 0) call("hostPutPage", HOST, pfn);
    return [pfn];
  }),
  one([page], (call, p) => [
    call("hostPte", HOST, hva(p)),
    call("hostFreeFrames"),
    call("hostCheckBalance", HOST),
  ]),
  one([], (call) => [call("hostDrain", HOST)]),
  one([page, pages], (call, p, n) => [call("kvmSetMemslot", HOST, 1, 64n + p, n, hva(p), 0)]),
  one([small], (call, id) => [call("kvmSetMemslot", HOST, id, 0n, 0n, 0n, 0)]),
  one([], (call) => [call("kvmSetMemslot", HOST, 0, GFN, BigInt(PAGES), HVA, 0)]),
  one([vcpu, page, size], (call, v, p, bytes) => [
    call("vcpuLoad", v, gpa(p) + 16n, bytes, 0),
    call("vcpuValue", v),
  ]),
  one([vcpu, page, size, value], (call, v, p, bytes, x) => [call("vcpuStore", v, gpa(p) + 16n, bytes, x)]),
  one([vcpu, page, size], (call, v, p, bytes) => [
    call("vcpuStore", v, gpa(p) + PAGE - 3n, bytes, 0x1122334455667788n),
  ]),
  one([vcpu, page, value], (call, v, p, x) => [
    call("vcpuModify", v, gpa(p) + 24n, 8, 1, x, 0n),
    call("vcpuValue", v),
  ]),
  one([vcpu, small, page], (call, v, m, p) => [call("kvmVcpuMap", v, m, gpa(p), 0)]),
  one([vcpu, small], (call, v, m) => [call("kvmVcpuUnmap", v, m)]),
  one([vcpu, small, value], (call, v, m, x) => [call("kvmMapWrite", v, m, 32, 8, x)]),
  one([vcpu, small], (call, v, m) => [call("kvmMapRead", v, m, 32, 8), call("vcpuValue", v)]),
  one([small, page], (call, c, p) => [call("kvmGpcActivate", HOST, c, gpa(p), 8)]),
  one([small], (call, c) => [call("kvmGpcDeactivate", HOST, c)]),
  one([small], (call, c) => [call("kvmGpcCheck", HOST, c, 8), call("kvmGpcRead", HOST, c, 0, 8)]),
  one([small, value], (call, c, x) => [call("kvmGpcWrite", HOST, c, 0, 8, x)]),
  one([page, fc.integer({ min: 1, max: 4096 })], (call, p, n) => [
    call("kvmReadGuest", HOST, gpa(p) + 100n, n),
  ]),
  one([page, fc.integer({ min: 1, max: 4096 })], (call, p, n) => [
    call("kvmWriteGuest", HOST, gpa(p) + 100n, n),
  ]),
  one([page], (call, p) => [
    call("kvmLeaf", HOST, GFN + p),
    call("kvmLeafCount", HOST),
    call("kvmTableCount"),
  ]),
);

/** Suspends before every access. */
const EVERYWHERE: Watcher = { suspends: () => true, touched: () => undefined, noted: () => undefined };

function runnerOn(machine: KvmMachine, build: ExploredBuild): Runner {
  return new Runner(exploredModule(build), machine.memory, machine.word(HEADER_OFFSET_SIZE), {
    ...ABI,
    ...LAB_ABI,
  });
}

/** Calls through the instrumented module, suspended before every access and resumed at once. */
function haltingly(runner: Runner, counts: { suspensions: number }): Caller {
  return (name, ...args) => {
    let end: RunEnd = runner.start({ name, args, text: name }, EVERYWHERE);
    while (end.kind === "suspended") {
      if (end.suspension.at === At.Wait) throw new Error(`${name} waits, and there is nobody else`);
      counts.suspensions++;
      end = runner.resume(end.suspension, 0, EVERYWHERE);
    }
    if (end.kind === "trapped") throw new Error(`${name}: ${end.message}`);
    return end.result;
  };
}

function plainly(machine: KvmMachine): Caller {
  return (name, ...args) => {
    const raw = machine.raw[name]!(...args);
    switch (ABI[name].result) {
      case "u64":
        return BigInt.asUintN(64, raw as bigint);
      case "u32":
        return (raw as number) >>> 0;
      case "void":
        return 0;
      default:
        return raw;
    }
  };
}

function memoryOf(machine: KvmMachine): Buffer {
  return Buffer.from(new Uint8Array(machine.memory.buffer, 0, machine.word(HEADER_OFFSET_SIZE)));
}

const CONFIGURATIONS: readonly (readonly [string, ExploredBuild, HostConfiguration])[] = [
  ["release, v6.13", "release", { profile: Profile.V6_13 }],
  ["release, v5.4", "release", { profile: Profile.V5_4 }],
  ["lab, v6.13, prefetch", "lab", { profile: Profile.V6_13, prefetch: 8 }],
];

test.each(CONFIGURATIONS)("plain, through and halting: %s", (_, build, configuration) => {
  const counts = { suspensions: 0 };
  fc.assert(
    fc.property(fc.array(operation, { minLength: 5, maxLength: 30 }), (operations) => {
      const made = () => {
        const machine = new KvmMachine({ frames: 192, spinLimit: 0, ...configuration, build });
        machine.map(BigInt(PAGES) * PAGE, { hva: HVA, actor: HOST });
        if (machine.setSlot(0, GFN, BigInt(PAGES), HVA) !== 0) throw new Error("no memslot");
        return machine;
      };
      const [plain, through, halting] = [made(), made(), made()];
      const free = runnerOn(through, build);
      const calls: readonly Caller[] = [
        plainly(plain),
        (name, ...args) => free.alone({ name, args, text: name }, FREE),
        haltingly(runnerOn(halting, build), counts),
      ];
      for (const [i, run] of operations.entries()) {
        const [expected, ...others] = calls.map((call) => run(call));
        for (const other of others) expect(other, `operation ${i}`).toEqual(expected);
      }
      const memory = memoryOf(plain);
      expect(memory.equals(memoryOf(through)), "memory after running through").toBe(true);
      expect(memory.equals(memoryOf(halting)), "memory after halting everywhere").toBe(true);
    }),
    { seed: 20_26, numRuns: 25 },
  );
  expect(counts.suspensions).toBeGreaterThan(10_000);
});

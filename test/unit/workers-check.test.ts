// What an embedder hands to workers is refused before anything starts: with the name, the value, and what is accepted.
import { beforeAll, describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import { Machine } from "../../src/machine/machine.js";
import { checkMachine, checkPlans, checkRunOptions } from "../../src/workers/check.js";
import { LoadedGuest } from "../../src/workers/load.js";
import type { ActorPlan, RunOptions } from "../../src/workers/plan.js";

const SPEC = { memory: 1 << 20 };
const PAGES = SPEC.memory / 4096;

let machine: Machine;
let guest: LoadedGuest;

beforeAll(() => {
  machine = Machine.create({ frames: LoadedGuest.frames(SPEC, 2, 2), vcpus: 2, hostThreads: 2 });
  guest = LoadedGuest.boot(machine, SPEC);
});

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    expect((error as GuestMmuError).code).toBe("USAGE");
    expect((error as GuestMmuError).hint).not.toBe("");
    return (error as GuestMmuError).message;
  }
  throw new Error("it was accepted");
}

/** A value that no type allows. */
const wrong = (value: unknown): never => value as never;

describe("LoadedGuest refuses", () => {
  test.each<[string, unknown, unknown, RegExp]>([
    ["a vCPU that is not there", 2, {}, /vcpu is 2: .* 0 to 1/],
    ["a vCPU of -1", -1, {}, /vcpu is -1/],
    ["writePercent -5", 0, { writePercent: -5 }, /writePercent is -5: .* 0 to 100/],
    ["writePercent 200", 0, { writePercent: 200 }, /writePercent is 200/],
    ["writePercent x", 0, { writePercent: "x" }, /writePercent is "x"/],
    ["writePercent NaN", 0, { writePercent: NaN }, /writePercent is NaN/],
    ["a workload", 0, { workload: "nope" }, /no workload "nope"/],
    ["a workload of Object", 0, { workload: "constructor" }, /no workload "constructor"/],
    ["seed -1", 0, { seed: -1 }, /seed is -1: .* 0 to 4294967295/],
    ["seed 1.5", 0, { seed: 1.5 }, /seed is 1.5/],
    ["pages beyond the region", 0, { first: 1, pages: PAGES }, /pages is 256: .* 1 to 255/],
    ["a first page beyond it", 0, { first: PAGES }, /first is 256/],
    ["a misspelt name", 0, { page: 1 }, /no property "page"/],
    ["what is no object", 0, null, /null/],
  ])("configure: %s", (_, vcpu, spec, message) => {
    expect(refusal(() => guest.configure(wrong(vcpu), wrong(spec)))).toMatch(message);
  });

  test.each<[string, unknown, unknown, RegExp]>([
    ["a host thread that is not there", 2, {}, /host is 2: .* 0 to 1/],
    ["a span of 1e9", 1, { span: 1e9 }, /span is 1000000000: .* 1 to 256/],
    ["a span beyond its pages", 1, { span: 5, pages: 4 }, /span is 5: .* 1 to 4/],
    ["a span of 0", 1, { span: 0 }, /span is 0/],
    ["a seed", 1, { seed: 2 ** 32 }, /seed is 4294967296/],
  ])("configureInvalidator: %s", (_, host, spec, message) => {
    expect(refusal(() => guest.configureInvalidator(wrong(host), wrong(spec)))).toMatch(message);
  });

  test.each<[unknown, unknown, unknown, RegExp]>([
    [{ memory: -1 }, 1, 1, /memory is -1/],
    [{ memory: "1m" }, 1, 1, /memory is "1m"/],
    [{ memory: 5000 }, 1, 1, /memory is 5000: .* whole pages of 4096/],
    [{ memory: 1 << 21, pageSize: 8192 }, 1, 1, /pageSize is 8192: .* 4096, 2097152/],
    [{ memory: 4096 }, 0, 1, /vcpus is 0/],
    [{ memory: 4096 }, 1, NaN, /hostThreads is NaN/],
    [undefined, 1, 1, /undefined/],
  ])("frames: %j, %j vCPUs, %j host threads", (spec, vcpus, hosts, message) => {
    expect(refusal(() => LoadedGuest.frames(wrong(spec), wrong(vcpus), wrong(hosts)))).toMatch(message);
    if (vcpus === 1 && hosts === 1)
      expect(refusal(() => LoadedGuest.boot(machine, wrong(spec)))).toMatch(message);
  });

  test("touch: a vCPU that is not there", () => {
    expect(refusal(() => guest.touch(7))).toMatch(/vcpu is 7/);
  });

  test("nothing that is right", () => {
    guest.configure(1, { first: 0, pages: PAGES, workload: "zipf", writePercent: 0, seed: 2 ** 32 - 1 });
    guest.configureInvalidator(1, { span: PAGES, seed: 0 });
    guest.touch(1);
  });
});

describe("options of a run", () => {
  test.each<[unknown, RegExp]>([
    [{ durationMs: 10, samples: 1e9 }, /samples is 1000000000: .* 1 to 10000/],
    [{ durationMs: 10, samples: 1.5 }, /samples is 1.5/],
    [{ durationMs: 10, samples: 0 }, /samples is 0/],
    [{ durationMs: "50" }, /durationMs is "50"/],
    [{ durationMs: Infinity }, /durationMs is Infinity/],
    [{ durationMs: NaN }, /durationMs is NaN/],
    [{}, /durationMs is undefined/],
    [{ durationMs: 10, warmupMs: -1 }, /warmupMs is -1/],
    [{ durationMs: 10, seed: "x" }, /seed is "x"/],
    [{ durationMs: 10, signal: {} }, /signal is an object: .* AbortSignal/],
    [{ durationMs: 10, sample: 5 }, /no property "sample"/],
    [undefined, /undefined/],
    [7, /7/],
  ])("%j are refused", (options, message) => {
    expect(refusal(() => checkRunOptions(wrong(options)))).toMatch(message);
  });

  test("have defaults", () => {
    const options: RunOptions = { durationMs: 10 };
    expect(checkRunOptions(options)).toEqual({ durationMs: 10, samples: 10, warmupMs: 50, seed: 1 });
  });
});

describe("plans", () => {
  const plans = (...given: unknown[]): string => refusal(() => checkPlans(machine, wrong(given), 3));
  const ram = { hva: 0x1000n, length: 0x2000n };
  const process = { ramSize: 0x2000n, ram, pageShift: 12, vcpus: 2, own: true };
  const trace = (vcpu: number, change: object = {}): unknown => ({
    ...{ kind: "trace", vcpu, records: new SharedArrayBuffer(16), guest: process },
    ...change,
  });

  test.each<[string, unknown, RegExp]>([
    [
      "of no kind there is",
      { kind: "zzz", vcpu: 0 },
      /kind of a plan is "zzz": .* run, populate, cycle, trace/,
    ],
    ["that are no object", null, /plan is null/],
    ["without a number", { kind: "run" }, /no vCPU undefined/],
    [
      "of a rate that is a text",
      { kind: "invalidate", host: 1, perSecond: "5" },
      /perSecond of host thread 1 is 5/,
    ],
    ["that discard nothing", { kind: "populate", vcpu: 0 }, /discard of vCPU 0 is undefined/],
    [
      "that discard half a page",
      { kind: "populate", vcpu: 0, discard: { hva: 0n, length: 2048n } },
      /length of discard of vCPU 0 is 2048: .* whole pages/,
    ],
    ["of a trace without records", trace(0, { records: undefined }), /records of vCPU 0 is undefined/],
    [
      "of a torn trace",
      trace(0, { records: new SharedArrayBuffer(24) }),
      /byteLength .* is 24: .* multiple of 16/,
    ],
    ["of an empty trace", trace(0, { records: new SharedArrayBuffer(0) }), /is 0: .* above 0/],
    ["of a trace without a guest", trace(0, { guest: undefined }), /guest of vCPU 0 is undefined/],
    ["of odd pages", trace(0, { guest: { ...process, pageShift: 13 } }), /pageShift .* is 13: .* 12, 21/],
    ["of too many vCPUs", trace(0, { guest: { ...process, vcpus: 3 } }), /vcpus .* is 3: .* 1 to 2/],
    ["beyond their guest", trace(1, { guest: { ...process, vcpus: 1 } }), /vcpu of vCPU 1 is 1: .* 0 to 0/],
  ])("%s are refused", (_, plan, message) => {
    expect(plans(plan)).toMatch(message);
  });

  test("that are no list are refused", () => {
    expect(refusal(() => checkPlans(machine, wrong(undefined), 3))).toMatch(/plans is undefined: .* list/);
  });

  test.each<[string, unknown[], RegExp]>([
    [
      "trace beside run, which would wait for ever",
      [trace(0), { kind: "run", vcpu: 1 }],
      /kind "trace" begin each/,
    ],
    [
      "populate beside cycle",
      [
        { kind: "populate", vcpu: 0, discard: ram },
        { kind: "cycle", vcpu: 1 },
      ],
      /kind "populate" begin each/,
    ],
    [
      "different ranges",
      [
        { kind: "populate", vcpu: 0, discard: ram },
        { kind: "populate", vcpu: 1, discard: { ...ram, hva: 0n } },
      ],
      /different ranges to discard/,
    ],
    ["different guests", [trace(0), trace(1, { guest: { ...process, own: false } })], /different guests/],
  ])("together: %s", (_, given, message) => {
    expect(plans(...given)).toMatch(message);
  });

  test("that are right pass", () => {
    const invalidate: ActorPlan = { kind: "invalidate", host: 1, perSecond: Infinity };
    checkPlans(machine, [trace(0) as ActorPlan, trace(1) as ActorPlan, invalidate], 3);
  });
});

test("what is no machine, and a machine that was disposed of, are refused", () => {
  expect(refusal(() => checkMachine(wrong({ configuration: {} })))).toMatch(/machine is an object/);
  const gone = Machine.create({ frames: 64 });
  gone.dispose();
  expect(() => checkMachine(gone)).toThrow(expect.objectContaining({ code: "DISPOSED" }) as Error);
});

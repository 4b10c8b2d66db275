/** Calls of the core for programs of actors: each with a text that a counterexample shows. */

import { Access, VmaFlag } from "../core/layout.generated.js";
import { type ScenarioActor } from "./scenario.js";
import { type Call, type CallResult, type Program } from "./program.js";
import { type ActorKind } from "./trace.js";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function call(name: string, text: string, ...args: (number | bigint)[]): Call {
  return { name, args, text };
}

/** An actor that makes these calls, one after the other. */
export function actor(
  kind: ActorKind,
  name: string,
  index: number,
  program: Program | readonly Call[],
): ScenarioActor {
  return { kind, name, index, program: typeof program === "function" ? program : () => sequence(program) };
}

function* sequence(calls: readonly Call[]): Generator<Call, void, CallResult> {
  for (const one of calls) yield one;
}

/** What vCPU `v` does: each call is a KVM_RUN of one access. */
export function vcpuCalls(v: number) {
  return {
    read: (gpa: bigint, size = 8) => call("vcpuLoad", `reads gpa ${hex(gpa)}`, v, gpa, size, Access.Read),
    value: () => call("vcpuValue", "has read", v),
    write: (gpa: bigint, value: bigint, size = 8) =>
      call("vcpuStore", `writes ${hex(value)} at gpa ${hex(gpa)}`, v, gpa, size, value),
  };
}

const PROTECTION = { "r--": VmaFlag.Read, "rw-": VmaFlag.Read | VmaFlag.Write, "---": 0 } as const;

/** What the host thread with block `h` does in the VMM's address space. */
export function hostCalls(h: number) {
  return {
    madviseDontneed: (hva: bigint, length: bigint) =>
      call("hostDontneed", `madvise(DONTNEED) of ${hex(hva)}, ${length} bytes`, h, hva, length),
    munmap: (hva: bigint, length: bigint) =>
      call("hostMunmap", `munmap of ${hex(hva)}, ${length} bytes`, h, hva, length),
    mmap: (hva: bigint, length: bigint, shift = 12) =>
      call("hostMmap", `mmap at ${hex(hva)}, ${length} bytes`, h, hva, length, PROTECTION["rw-"], shift),
    mprotect: (hva: bigint, length: bigint, protection: keyof typeof PROTECTION) =>
      call("hostMprotect", `mprotect(${protection}) of ${hex(hva)}`, h, hva, length, PROTECTION[protection]),
    touch: (hva: bigint, length: bigint) => call("hostTouch", `touches ${hex(hva)}`, h, hva, length, 1),
    store: (hva: bigint, value: bigint, size = 8) =>
      call("hostStore", `stores ${hex(value)} at hva ${hex(hva)}`, h, hva, size, value),
    load: (hva: bigint, size = 8) => call("hostLoad", `loads hva ${hex(hva)}`, h, hva, size),
    gup: (hva: bigint, write = true) =>
      call("hostGup", `get_user_pages of ${hex(hva)}`, h, hva, write ? 1 : 0),
    gupFast: (hva: bigint, write = true) =>
      call("hostGupFast", `get_user_pages_fast of ${hex(hva)}`, h, hva, write ? 1 : 0),
    putPage: (pfn: number) => call("hostPutPage", `puts pfn ${pfn}`, h, pfn),
    allocPage: () => call("hostAllocPage", "allocates a page", h),
    addMemslot: (id: number, gpa: bigint, length: bigint, hva: bigint) =>
      call("kvmSetMemslot", `adds memslot ${id}`, h, id, gpa >> 12n, length >> 12n, hva, 0),
    deleteMemslot: (id: number) => call("kvmSetMemslot", `deletes memslot ${id}`, h, id, 0n, 0n, 0n, 0),
  };
}

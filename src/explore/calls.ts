/**
 * Calls of the core for programs of actors: each with a text that a counterexample shows. A call that is missing here can be
 * written as `{ name, args, text }`, where `name` is an export of the core (src/core/abi.ts) and `args` are its parameters:
 * a bigint for each u64, a number for the others.
 */

import { Access, FaultResult, FollFlag, HostStatus, MapFlag, VmaFlag } from "../core/layout.generated.js";
import { type ScenarioActor } from "./scenario.js";
import { type Call, type CallResult, type Program } from "./program.js";
import { type ActorKind } from "./trace.js";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function call(name: string, text: string, ...args: (number | bigint)[]): Call {
  return { name, args, text };
}

/**
 * One who acts.
 *
 * @param kind what it stands for: its column in a race table says so
 * @param name unique in the scenario; `judge` finds its results under it
 * @param index its block in the machine: vCPUs have 0 to `vcpus` - 1, host threads those after them. The calls that it makes
 *   are made for the same number (`vcpuCalls(0)`, `hostCalls(1)`)
 * @param program calls to be made one after the other, or a generator that is given the result of each call
 */
export function actor(
  kind: ActorKind,
  name: string,
  index: number,
  program: Program | readonly Call[],
): ScenarioActor {
  // What is neither is for the set-up to refuse, which knows the scenario.
  return {
    kind,
    name,
    index,
    program: Array.isArray(program) ? () => sequence(program) : (program as Program),
  };
}

function* sequence(calls: readonly Call[]): Generator<Call, void, CallResult> {
  for (const one of calls) yield one;
}

/** What vCPU `v` does: each call is a KVM_RUN of one access. */
export function vcpuCalls(v: number) {
  return {
    /** Reads `size` bytes; what was read is the result of `value`, made right after it. */
    read: (gpa: bigint, size = 8) => call("vcpuLoad", `reads gpa ${hex(gpa)}`, v, gpa, size, Access.Read),
    value: () => call("vcpuValue", "has read", v),
    write: (gpa: bigint, value: bigint, size = 8) =>
      call("vcpuStore", `writes ${hex(value)} at gpa ${hex(gpa)}`, v, gpa, size, value),
  };
}

/** A fault of vCPU `v` in its steps (lab build): what `vcpuCalls` do between exit and entry, without guest mode. */
export function faultCalls(v: number) {
  return {
    begin: (gpa: bigint, write = true) =>
      call("labFaultBegin", `faults at gpa ${hex(gpa)}`, v, gpa, write ? 1 : 0),
    snapshot: () => call("labSnapshot", "takes its snapshot of the sequence", v),
    resolve: () => call("labResolve", "looks slot and page up", v),
    commit: () => call("labCommit", "checks and installs", v),
    end: () => call("labFaultEnd", "ends the fault", v),
  };
}

/** One attempt at a fault, from begin to end; a step that says to retry ends it. */
export function faultOnce(v: number, gpa: bigint, write = true): Program {
  const calls = faultCalls(v);
  return function* () {
    yield calls.begin(gpa, write);
    yield calls.snapshot();
    const resolved = yield calls.resolve();
    if (resolved === FaultResult.Continue) yield calls.commit();
    yield calls.end();
  };
}

const PROTECTION = { "r--": VmaFlag.Read, "rw-": VmaFlag.Read | VmaFlag.Write, "---": 0 } as const;

/**
 * What the host thread with block `h` does in the VMM's address space, and to the memslots. Of a device: `pin` or `gup` its
 * pages and `putPage` or `unpin` them, or `transfer` by a handle that `machine.direct` has given in the set-up.
 */
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
    freeRaw: (pfn: number, order: number) =>
      call("hostFreeRaw", `frees the ${1 << order} frames from pfn ${pfn} on`, h, pfn, order),
    splitPage: (hva: bigint) => call("hostSplitPage", `splits the large page at ${hex(hva)}`, h, hva),
    fork: (hva: bigint, length: bigint) => call("hostFork", `forks a child with ${hex(hva)}`, h, hva, length),
    /** `forked` is what `fork` returned. */
    forkExit: (forked: CallResult) =>
      call("hostForkExit", "the child exits", h, Number(BigInt(forked) & 0xffff_ffffn)),
    /** ftruncate, which waits for whoever holds a page of a DAX file. */
    truncate: (file: number, pages: number) =>
      call("hostFileTruncate", `truncates file ${file} to ${pages} pages`, h, file, pages, 1),
    /** The same, refused with `Busy` while somebody holds a page. */
    truncateNow: (file: number, pages: number) =>
      call("hostFileTruncate", `truncates file ${file} to ${pages} pages, now or not`, h, file, pages, 0),
    /** `longterm`: with FOLL_LONGTERM. */
    pin: (hva: bigint, longterm = false) =>
      call(
        "hostPin",
        `pins the page at ${hex(hva)}${longterm ? " for as long as it likes" : ""}`,
        h,
        hva,
        FollFlag.Write | (longterm ? FollFlag.Longterm : 0),
      ),
    pinFast: (hva: bigint) =>
      call("hostPinFast", `pins the page at ${hex(hva)} without a lock`, h, hva, FollFlag.Write),
    unpin: (pfn: number, dirty = true) => call("hostUnpin", `unpins pfn ${pfn}`, h, pfn, dirty ? 1 : 0),
    fileOf: (pfn: number) => call("hostPageMapping", `asks which file pfn ${pfn} belongs to`, pfn),
    /** The device of a transfer that has begun. */
    transfer: (handle: number, length: number) =>
      call("hostDirectTransfer", `writes ${length} bytes to the pinned pages`, h, handle, 0, length),
    endTransfer: (handle: number) => call("hostDirectEnd", "ends the transfer", h, handle),
    addMemslot: (id: number, gpa: bigint, length: bigint, hva: bigint) =>
      call("kvmSetMemslot", `adds memslot ${id}`, h, id, gpa >> 12n, length >> 12n, hva, 0),
    deleteMemslot: (id: number) => call("kvmSetMemslot", `deletes memslot ${id}`, h, id, 0n, 0n, 0n, 0),
    /** The slot's own length and address: only its gpa changes. */
    moveMemslot: (id: number, gpa: bigint, length: bigint, hva: bigint) =>
      call(
        "kvmSetMemslot",
        `moves memslot ${id} to gpa ${hex(gpa)}`,
        h,
        id,
        gpa >> 12n,
        length >> 12n,
        hva,
        0,
      ),
    leaf: (gpa: bigint) => call("kvmLeaf", `looks for the SPTE of gpa ${hex(gpa)}`, h, gpa >> 12n),
    invalidateStart: (hva: bigint, length: bigint) =>
      call(
        "labInvalidateStart",
        `invalidate_range_start of ${hex(hva)}, ${length} bytes`,
        h,
        hva,
        hva + length,
      ),
    invalidateEnd: (hva: bigint, length: bigint) =>
      call("labInvalidateEnd", `invalidate_range_end of ${hex(hva)}, ${length} bytes`, h, hva, hva + length),
  };
}

/** pfn of what a gup or a pin returned; null if it failed. */
export function foundPfn(result: CallResult): number | null {
  const found = BigInt(result);
  return ((found >> 32n) & 0xffn) === BigInt(HostStatus.Ok) ? Number(found & 0xffff_ffffn) : null;
}

/** What KVM does with a page that it has mapped for vCPU `v` (kvm_vcpu_map); map 0. Each returns a `KvmStatus`. */
export function mapCalls(v: number) {
  return {
    /** `unsafe`: also a page that cannot be held (allow_unsafe_mappings). */
    map: (gpa: bigint, unsafe = false) =>
      call("kvmVcpuMap", `kvm_vcpu_map of gpa ${hex(gpa)}`, v, 0, gpa, unsafe ? MapFlag.Unsafe : 0),
    write: (value: bigint) => call("kvmMapWrite", `writes ${hex(value)} through its map`, v, 0, 0, 8, value),
    unmap: () => call("kvmVcpuUnmap", "kvm_vcpu_unmap", v, 0),
    /** The processor by itself, through the address in the VMCS of vCPU `v`. */
    hardwareWrite: (value: bigint) =>
      call("kvmHwWrite", `writes ${hex(value)} through the VMCS`, v, 0, 0, 8, value),
  };
}

/**
 * What actor `a` does with pfn cache 0 (gfn_to_pfn_cache), 8 bytes of it; `machine.kvm.cache(gpa)` activates it in a set-up.
 * Each returns a `KvmStatus`; `write` refreshes a cache that is not valid first.
 */
export function cacheCalls(a: number) {
  return {
    activate: (gpa: bigint) =>
      call("kvmGpcActivate", `points the pfn cache at gpa ${hex(gpa)}`, a, 0, gpa, 8),
    deactivate: () => call("kvmGpcDeactivate", "deactivates the pfn cache", a, 0),
    refresh: () => call("kvmGpcRefresh", "refreshes the pfn cache", a, 0, 8),
    write: (value: bigint) =>
      call("kvmGpcWrite", `writes ${hex(value)} through the pfn cache`, a, 0, 0, 8, value),
  };
}

/** Numbers of the VM that anybody may read. */
export const stateCalls = {
  seq: () => call("kvmInvalidateSeq", "reads mmu_invalidate_seq"),
  active: () => call("kvmActiveInvalidations", "reads mn_active_invalidate_count"),
};

const ACCESS_NAMES = { read: Access.Read, write: Access.Write } as const;

/** What the page walker of vCPU `vcpu` does by itself; it has the block `h` of a host thread. */
export function hardwareCalls(h: number, vcpu: number) {
  return {
    speculate: (gpa: bigint, access: keyof typeof ACCESS_NAMES) =>
      call("labSpeculate", `walks for a ${access} at gpa ${hex(gpa)}`, h, vcpu, gpa, ACCESS_NAMES[access]),
  };
}

/** What the thread that ends RCU grace periods does; it has the block `h` of a host thread. */
export function graceCalls(h: number) {
  return { free: () => call("labRcuGrace", "frees tables whose grace period is over", h) };
}

/**
 * What only a lab build can do: run the parts of KVM's fault path one by one, and leave an invalidation open. They are
 * the functions that every fault and invalidation runs; there is no second path for tests. One step at a time, on one
 * thread, they stand in every row of the retry matrix (docs/protocol.md, "The retry matrix").
 */

import { type LabCalls } from "../core/abi.js";
import { FaultResult } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { aligned, gpa as toGpa, hva as toHva, pageLength, type GpaLike, type HvaLike } from "./address.js";
import { choice, integer } from "./arguments.js";
import { type MachineState } from "./state.js";

/** What a step of a fault answers (RET_PF_*): `continue` from snapshot and resolve means go on. */
export type FaultStep =
  | "fixed"
  | "spurious"
  | "retry-count"
  | "retry-seq"
  | "retry-root"
  | "retry-race"
  | "mmio"
  | "host-fault"
  | "out-of-frames"
  | "continue";

const STEPS: Readonly<Record<FaultResult, FaultStep>> = {
  [FaultResult.Fixed]: "fixed",
  [FaultResult.Spurious]: "spurious",
  [FaultResult.RetryCount]: "retry-count",
  [FaultResult.RetrySeq]: "retry-seq",
  [FaultResult.RetryRoot]: "retry-root",
  [FaultResult.RetryRace]: "retry-race",
  [FaultResult.Mmio]: "mmio",
  [FaultResult.HostFault]: "host-fault",
  [FaultResult.OutOfFrames]: "out-of-frames",
  [FaultResult.Continue]: "continue",
};

const FAULT_ACCESSES = { read: 0, write: 1 } as const;

function misuse(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("USAGE", { message, hint });
}

/** A fault of one vCPU, step by step: snapshot, resolve, commit, end. */
export class LabFault {
  readonly #state: MachineState;
  readonly #calls: LabCalls;
  readonly #vcpu: number;
  readonly #ended: () => void;
  /** What may come next. */
  #stage: "begun" | "snapshot" | "resolved" | "done" | "ended" = "begun";

  /** Made by `Lab.beginFault`. */
  constructor(state: MachineState, calls: LabCalls, vcpu: number, ended: () => void) {
    this.#state = state;
    this.#calls = calls;
    this.#vcpu = vcpu;
    this.#ended = ended;
  }

  /** Step 1: reads mmu_invalidate_seq. May be repeated, also after `resolve`: that is the wrong order, to be tried. */
  snapshot(): void {
    this.#expect(["begun", "snapshot", "resolved"], "snapshot");
    this.#calls.labSnapshot(this.#vcpu);
    if (this.#stage === "begun") this.#stage = "snapshot";
  }

  /** Step 2: memslot, hva, page lookup. After "continue" a reference on the page is held until `commit`. */
  resolve(): FaultStep {
    this.#expect(["begun", "snapshot"], "resolve");
    const step = STEPS[this.#calls.labResolve(this.#vcpu) as FaultResult];
    this.#stage = step === "continue" ? "resolved" : "done";
    return step;
  }

  /** Step 3: lock, retry check, installation; puts the page. */
  commit(): FaultStep {
    this.#expect(["resolved"], "commit");
    this.#stage = "done";
    return STEPS[this.#calls.labCommit(this.#vcpu) as FaultResult];
  }

  /** Leaves the fault. One that was resolved has to be committed first, or its reference would leak. */
  end(): void {
    this.#expect(["begun", "snapshot", "done"], "end");
    this.#stage = "ended";
    this.#state.checkUsable();
    this.#calls.labFaultEnd(this.#vcpu);
    this.#ended();
  }

  #expect(stages: readonly string[], step: string): void {
    this.#state.checkUsable();
    if (stages.includes(this.#stage)) return;
    throw misuse(
      `${step} cannot come now: the fault of vCPU ${this.#vcpu} is ${this.#stage}.`,
      "The order is snapshot, resolve, commit, end.",
    );
  }
}

/** An invalidation whose start has returned. */
export interface OpenInvalidation {
  /** invalidate_range_end: once. */
  end(): void;
}

/** `machine.lab` of a machine on a lab build. */
export class Lab {
  readonly #state: MachineState;
  readonly #calls: LabCalls;
  readonly #faulting = new Set<number>();

  /** Made by `Machine`. */
  constructor(state: MachineState, calls: LabCalls) {
    this.#state = state;
    this.#calls = calls;
  }

  /** Begins a fault of `vcpu` at a guest-physical address; until its `end` this thread can change no memslot. */
  beginFault(vcpu: number, gpa: GpaLike, access: "read" | "write" = "read"): LabFault {
    this.#state.checkUsable();
    const index = integer("vcpu", vcpu, 0, this.#state.configuration.vcpus - 1);
    const at = toGpa(gpa);
    const write = choice("access of a fault", FAULT_ACCESSES, access);
    if (this.#faulting.has(index)) {
      throw misuse(
        `vCPU ${index} is in a fault already.`,
        "End that one first: a vCPU handles one fault at a time.",
      );
    }
    if (!this.#calls.labFaultBegin(index, at, write)) {
      this.#calls.labFaultEnd(index);
      throw outOfFrames(`vCPU ${index} has no frame for its tables`);
    }
    this.#faulting.add(index);
    this.#state.openFaults++;
    return new LabFault(this.#state, this.#calls, index, () => {
      this.#faulting.delete(index);
      this.#state.openFaults--;
    });
  }

  /** invalidate_range_start for [hva, hva + length): zapped and flushed when it returns, and open until `end`. */
  invalidateStart(hva: HvaLike, length: number | bigint): OpenInvalidation {
    this.#state.checkUsable();
    const start = aligned(toHva(hva), 4096n, "The host-virtual address");
    const end = start + pageLength(length);
    const { actor } = this.#state;
    this.#calls.labInvalidateStart(actor, start, end);
    this.#state.openInvalidations++;
    let open = true;
    return {
      end: () => {
        if (!open) throw misuse("The invalidation has ended already.", "End it once.");
        open = false;
        this.#state.checkUsable();
        this.#calls.labInvalidateEnd(actor, start, end);
        this.#state.openInvalidations--;
      },
    };
  }

  /** mmu_invalidate_seq: completed invalidations. */
  get invalidateSeq(): number {
    return this.#state.calls.kvmInvalidateSeq();
  }

  /** mmu_invalidate_in_progress: open invalidations that count. */
  get invalidateInProgress(): number {
    return this.#state.calls.kvmInvalidateInProgress();
  }
}

/** A guest that boots, with processes whose pages are mapped on demand: what every pass of a trace begins with. */

import type { CoreCalls } from "../core/abi.js";
import { GuestMapping, GuestStatus } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import type { ProcessPlan } from "./plan.js";

/** The user half of a process: every canonical address that a trace may name. */
const USER_SIZE = 1n << 47n;

/**
 * Gives the RAM back to the host and boots the guest anew on its vCPUs, which have to be outside guest mode. Acts as all
 * of them.
 */
export function startProcesses(calls: CoreCalls, plan: ProcessPlan): void {
  calls.hostDontneed(0, plan.ram.hva, plan.ram.length);
  check("boot", calls.guestBoot(0, plan.ramSize, 0));
  for (let vcpu = plan.own ? 0 : 1; vcpu < plan.vcpus; vcpu++) {
    check("start a vCPU", calls.guestJoin(vcpu, plan.own ? 1 : 0));
    if (plan.own) map(calls, vcpu, plan);
  }
  if (!plan.own) map(calls, 0, plan);
}

function map(calls: CoreCalls, vcpu: number, plan: ProcessPlan): void {
  check("back the process", calls.guestMap(vcpu, GuestMapping.FirstTouch, 0n, USER_SIZE, plan.pageShift, 0n));
}

function check(what: string, status: number): void {
  if (status === GuestStatus.Ok) return;
  throw new GuestMmuError(status === GuestStatus.OutOfMemory ? "FRAMES_EXHAUSTED" : "CONFIG_INVALID", {
    message: `The guest could not ${what} (guest status ${status}).`,
    hint: "Give the guest more RAM, all of it behind memslots, and the machine more frames.",
  });
}

// Requests to vCPUs, and the remote TLB flush (docs/protocol.md, Remote flush).
//
//   flusher   zap SPTEs ; set the request ; mode: InGuest -> Exiting ; wait until that vCPU has left guest mode
//   vCPU      mode := InGuest ; look at the requests ; run ; mode := Outside
//
// A Dekker pair: either the vCPU sees the request before it runs, or the flusher sees it in guest mode and waits.

import { CONTROL_MODE, CONTROL_MODE_WAITERS, CONTROL_REQUESTS, Request, VcpuMode } from "../layout/control";
import { Map } from "../layout/map";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Barrier, Ops, Order } from "../sync/ops";
import { waitWhileEqual } from "../sync/wait";

/** kvm_make_request: what was written before is seen by who finds the request. */
function makeRequest(vcpu: usize, request: Request): void {
  Ops.barrier(Barrier.Wmb);
  Ops.or<u32>(vcpu + CONTROL_REQUESTS, request, Order.None);
}

/** Makes one vCPU's request and kicks it out of guest mode; does not wait. */
function requestAndKick(actor: usize, vcpu: usize, request: Request): void {
  if (Rules.hold(Rule.RequestBeforeModeCheck)) makeRequest(vcpu, request);
  // The request, then the mode: a compare-and-swap that fails orders nothing. Pairs with mode-then-requests at entry.
  Ops.barrier(Barrier.Mb);
  const mode = Ops.cas<u32>(vcpu + CONTROL_MODE, VcpuMode.InGuest, VcpuMode.ExitingGuest, Order.Full);
  if (!Rules.hold(Rule.RequestBeforeModeCheck)) makeRequest(vcpu, request);
  if (mode == VcpuMode.InGuest) Stats.add(actor, Stat.Ipis, 1);
}

/** kvm_make_all_cpus_request: returns when each vCPU that was in guest mode has left it. */
export function requestAll(actor: usize, request: Request): void {
  const n = Map.vcpuCount;
  for (let i: u32 = 0; i < n; i++) {
    const vcpu = Map.actor(i);
    if (vcpu == actor) makeRequest(vcpu, request);
    else requestAndKick(actor, vcpu, request);
  }
  if (!Rules.hold(Rule.FlushWaitsForAck)) return;
  for (let i: u32 = 0; i < n; i++) {
    const vcpu = Map.actor(i);
    if (vcpu == actor) continue; // an actor that sends requests is outside guest mode itself
    waitWhileEqual(vcpu + CONTROL_MODE, VcpuMode.ExitingGuest, vcpu + CONTROL_MODE_WAITERS, actor);
  }
}

/** kvm_flush_remote_tlbs. */
export function flushRemoteTlbs(actor: usize): void {
  Stats.add(actor, Stat.RemoteFlushes, 1);
  Notes.tell(Note.FlushBegin, 0, 0);
  requestAll(actor, Request.TlbFlush);
  Notes.tell(Note.FlushDone, 0, 0);
}

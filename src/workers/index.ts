/**
 * `guestmmu/worker`: real threads over one machine. Needs Piscina, and a host with worker threads; the library's own
 * entry needs neither.
 */

export { VcpuPool, VcpuRun } from "./pool.js";
export type { ActorMeasure } from "./control.js";
export type {
  ActorPlan,
  ActorReport,
  CyclePlan,
  InvalidatePlan,
  PopulatePlan,
  RunOptions,
  RunPlan,
  RunReport,
  HostRange,
  ProcessPlan,
  RunTiming,
  TracePlan,
} from "./plan.js";
export {
  LoadedGuest,
  type GuestSpec,
  type InvalidateSpec,
  type LoadPageSize,
  type WindowSpec,
  type WorkloadName,
} from "./load.js";

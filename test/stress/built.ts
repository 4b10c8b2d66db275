// The package as it was built, under its own name: threads run built JavaScript. Types are those of the source, so that
// types can be checked before anything is built.
const library = "guestmmu";
const worker = "guestmmu/worker";

export const { Machine } = (await import(library)) as typeof import("../../src/index.js");
export const { LoadedGuest, VcpuPool } = (await import(
  worker
)) as typeof import("../../src/workers/index.js");

export type { Machine as MachineView, MachineOptions } from "../../src/index.js";
export type {
  ActorPlan,
  GuestSpec,
  LoadedGuest as Guest,
  RunReport,
  VcpuPool as Pool,
} from "../../src/workers/index.js";

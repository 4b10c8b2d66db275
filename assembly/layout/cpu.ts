import { ACTOR_CPU } from "./actor";

/** Processor state of a vCPU: private to it. */
@unmanaged
export class Cpu {
  cr3: u64;
  eptp: u64;
}
if (offsetof<Cpu>() > 256) ERROR("Cpu must fit its part");
export const CPU_CR3: usize = ACTOR_CPU + offsetof<Cpu>("cr3");

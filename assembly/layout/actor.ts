// One block for every actor: vCPUs first, then host threads. An actor handle of the ABI is an index; inside the
// core an actor is the address of its block.
//
//      0  CONTROL  words that other actors write: mode, requests          (layout/control.ts)
//    128  GRACE    words that grace periods read: SRCU and RCU epochs     (layout/control.ts)
//    256  CPU      control registers, rights, TLB geometry; private       (layout/cpu.ts)
//    576  STATS    counters; written by the owner, read by anyone         (layout/stats.ts)
//   1024  WALK     the last walk, level by level                          (layout/walk.ts)
//   1664  POOL     the actor's own frames and its table cache             (layout/pool.ts)
//   2560  DRIVE    load generator and guest kernel state                  (layout/drive.ts)
//   3840  FAULT    the page fault being handled; kvm_vcpu_map's table     (layout/fault.ts, layout/vcpu-map.ts)
//   4096  GATHER   pages whose references fall after the next host flush  (layout/pool.ts)
//
// Hot parts lie in the first KiB: binaryen folds a field's offset into the instruction below 1,024.

export const ACTOR_SIZE: u32 = 8192;
export const ACTOR_SHIFT: u32 = 13;

export const ACTOR_CONTROL: usize = 0;
export const ACTOR_GRACE: usize = 128;
export const ACTOR_CPU: usize = 256;
export const ACTOR_STATS: usize = 576;
export const ACTOR_WALK: usize = 1024;
export const ACTOR_POOL: usize = 1664;
export const ACTOR_DRIVE: usize = 2560;
export const ACTOR_FAULT: usize = 3840;
export const ACTOR_GATHER: usize = 4096;

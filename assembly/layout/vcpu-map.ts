// What a vCPU has mapped with kvm_vcpu_map: a small table at the end of its block's fault part. Private to the vCPU but
// for `address`, which stands for the field of a VMCS: hardware reads it as well.

import { ACTOR_FAULT, ACTOR_GATHER } from "./actor";
import { Fault } from "./fault";

/** struct kvm_host_map. A row whose address is 0 is free. */
@unmanaged
export class VcpuMap {
  gfn: u64;
  pfn: u32;
  /** pfn whose struct page the mapping uses, `MAP_NO_PAGE` if it has none. */
  page: u32;
  /** Where the page is in this memory. */
  address: u32;
  /** `MapFlag` bits that it was mapped with. */
  flags: u32;
  /** `MapHold`: what is to be given back. */
  hold: u32;
}

/** KVM_UNMAPPED_PAGE, the sentinel: the pfn has no struct page that may be touched. Not 0, which is a pfn. */
export const MAP_NO_PAGE: u32 = 0xffffffff;

/** How to map. */
export enum MapFlag {
  /** kvm_vcpu_map_readonly. */
  ReadOnly = 1 << 0,
  /** Also map a pfn whose page cannot be held (the module parameter allow_unsafe_mappings). */
  Unsafe = 1 << 1,
}

/** What a mapping holds of its page. */
export enum MapHold {
  None = 0,
  /** One reference. */
  Reference = 1,
  /** One pin. */
  Pin = 2,
}

export const VCPU_MAP_COUNT: u32 = 4;
export const VCPU_MAP_SHIFT: u32 = 5;
export const ACTOR_MAPS: usize = ACTOR_FAULT + 128;
export const VCPU_MAP_ADDRESS: usize = offsetof<VcpuMap>("address");

if (offsetof<VcpuMap>() > (<usize>1) << VCPU_MAP_SHIFT) ERROR("a vCPU's map must fit its row");
if (ACTOR_FAULT + offsetof<Fault>() > ACTOR_MAPS) ERROR("Fault must end before the maps");
if (ACTOR_MAPS + ((<usize>VCPU_MAP_COUNT) << VCPU_MAP_SHIFT) > ACTOR_GATHER)
  ERROR("the maps must end before the gather list");

// KVM's own uses of guest memory: copies, mappings of vCPUs (kvm_vcpu_map), and pfn caches. None is made in guest mode.
// Each returns a `KvmStatus`; a value that was loaded is `vcpuValue` of the actor.

import { Map } from "../layout/map";
import { readGuest, writeGuest } from "../kvm/copy";
import {
  activateCache,
  checkCache,
  deactivateCache,
  loadCached,
  refreshCache,
  storeCached,
} from "../kvm/pfncache";
import { KvmStatus } from "../kvm/status";
import { loadMapped, mapGuest, storeByHardware, storeMapped, unmapGuest } from "../kvm/vcpu-map";

/** kvm_read_guest: copies `length` bytes at `gpa` to the start of the actor's batch buffer, across slots that touch. */
export function kvmReadGuest(actor: u32, gpa: u64, length: u32): KvmStatus {
  return readGuest(Map.actor(actor), gpa, length);
}

/** kvm_write_guest: copies `length` bytes from the start of the actor's batch buffer to `gpa`. */
export function kvmWriteGuest(actor: u32, gpa: u64, length: u32): KvmStatus {
  return writeGuest(Map.actor(actor), gpa, length);
}

/** kvm_vcpu_map: the page of `gpa` as map `map` (below VCPU_MAP_COUNT) of the vCPU, with `MapFlag`s. */
export function kvmVcpuMap(vcpu: u32, map: u32, gpa: u64, flags: u32): KvmStatus {
  return mapGuest(Map.actor(vcpu), map, gpa, flags);
}

/** kvm_vcpu_unmap. */
export function kvmVcpuUnmap(vcpu: u32, map: u32): KvmStatus {
  return unmapGuest(Map.actor(vcpu), map);
}

/** KVM's load of `size` (1, 2, 4, 8) bytes at `offset` of a mapping. */
export function kvmMapRead(vcpu: u32, map: u32, offset: u32, size: u32): KvmStatus {
  return loadMapped(Map.actor(vcpu), map, offset, size);
}

/** KVM's store of the low `size` bytes of `value`. */
export function kvmMapWrite(vcpu: u32, map: u32, offset: u32, size: u32, value: u64): KvmStatus {
  return storeMapped(Map.actor(vcpu), map, offset, size, value);
}

/** A store by hardware, through the address that the vCPU's VMCS has from the mapping. Any thread may call it. */
export function kvmHwWrite(vcpu: u32, map: u32, offset: u32, size: u32, value: u64): KvmStatus {
  return storeByHardware(Map.actor(vcpu), map, offset, size, value);
}

/** kvm_gpc_activate: cache `cache` (below GPC_COUNT) is for [gpa, gpa + length) of one page from now on; refreshes it. */
export function kvmGpcActivate(actor: u32, cache: u32, gpa: u64, length: u32): KvmStatus {
  return activateCache(Map.actor(actor), cache, gpa, length);
}

/** kvm_gpc_deactivate. */
export function kvmGpcDeactivate(actor: u32, cache: u32): KvmStatus {
  return deactivateCache(Map.actor(actor), cache);
}

/** kvm_gpc_check: whether `length` bytes from the cache's gpa on could be used as they are cached. */
export function kvmGpcCheck(actor: u32, cache: u32, length: u32): bool {
  return checkCache(Map.actor(actor), cache, length);
}

/** kvm_gpc_refresh: looks the page up again if need be; waits while an invalidation is open. */
export function kvmGpcRefresh(actor: u32, cache: u32, length: u32): KvmStatus {
  return refreshCache(Map.actor(actor), cache, length);
}

/** Loads `size` (1, 2, 4, 8) bytes at `offset` from the cache's gpa, refreshing it if need be. */
export function kvmGpcRead(actor: u32, cache: u32, offset: u32, size: u32): KvmStatus {
  return loadCached(Map.actor(actor), cache, offset, size);
}

/** Stores the low `size` bytes of `value`, likewise. */
export function kvmGpcWrite(actor: u32, cache: u32, offset: u32, size: u32, value: u64): KvmStatus {
  return storeCached(Map.actor(actor), cache, offset, size, value);
}

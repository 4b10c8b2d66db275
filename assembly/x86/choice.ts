// What the manual leaves to the processor. Strict, the TLB keeps what it was told until it is told otherwise. With
// MachineOption.ArchitecturalTlb the lab build asks its host at each such place, so that an explorer tries every answer:
//
//   a cached translation that could be used is gone        SDM vol. 3A 4.10.4.1, vol. 3C 29.4.3.1
//   a row of the walk cache that could be used is gone     vol. 3C 29.4.3.1
//   a walk begins at a row of the paging-structure caches  vol. 3A 4.10.3, vol. 3C 29.4.1 (x86/structures.ts)
//   a fault because an entry has fewer rights than the     vol. 3A 4.10.4.3, vol. 3C 29.4.3.4
//   tables have by now (4-KByte entries only)
//
// An invalidation that drops more than it was asked to needs no choice of its own: what it would drop may be gone at its
// next use, and before that nobody can tell. The other way, an entry that outlives an invalidation it is covered by, is
// never allowed.

import { choose } from "../env";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";

export class Choice {
  /** True if the processor does what it may, and need not. Never in the release build. */
  @inline static may(): bool {
    return LAB ? Map.has(MachineOption.ArchitecturalTlb) && choose(2) != 0 : false;
  }
}

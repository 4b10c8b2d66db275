// A machine for tests of the KVM part: memslots, vCPUs without guest paging (a gva is a gpa), and the lab module's parts.
import * as layout from "../src/core/layout.generated.js";
import { HostMachine, type HostConfiguration } from "./host-machine.js";

export const { FaultResult, Outcome, Profile, SlotStatus, SlotFlag, Modify, Access } = layout;
export const PROFILES = [
  ["v5.4", Profile.V5_4],
  ["v6.13", Profile.V6_13],
] as const;

export class KvmMachine extends HostMachine {
  /** The host thread: the actor behind the vCPUs. */
  readonly host: number;

  constructor(configuration: HostConfiguration = {}) {
    super({ vcpus: 2, profile: Profile.V6_13, ...configuration });
    this.host = configuration.vcpus ?? 2;
  }

  setSlot(id: number, baseGfn: bigint, npages: bigint, hva: bigint, flags = 0): number {
    return this.u32("kvmSetMemslot", this.host, id, baseGfn, npages, hva, flags);
  }
  deleteSlot(id: number): number {
    return this.setSlot(id, 0n, 0n, 0n);
  }
  /** Maps `npages` of anonymous memory and backs gfn `baseGfn` on with it. */
  backed(npages: bigint, { id = 0, baseGfn = 0n, shift = 12, flags = 0 } = {}): bigint {
    const hva = this.map(npages << 12n, { shift, actor: this.host });
    const status = this.setSlot(id, baseGfn, npages, hva, flags);
    if (status !== SlotStatus.Ok) throw new Error(`memslot: status ${status}`);
    return hva;
  }
  get slots(): { baseGfn: bigint; npages: bigint; hva: bigint; id: number; flags: number }[] {
    return Array.from({ length: this.u32("kvmSlotCount") }, (_, i) => {
      const at = this.u32("kvmSlotAt", i);
      return {
        baseGfn: this.view.getBigUint64(at + layout.SLOT_OFFSET_BASE_GFN, true),
        npages: this.view.getBigUint64(at + layout.SLOT_OFFSET_NPAGES, true),
        hva: this.view.getBigUint64(at + layout.SLOT_OFFSET_HVA, true),
        id: this.view.getUint32(at + layout.SLOT_OFFSET_ID, true),
        flags: this.view.getUint32(at + layout.SLOT_OFFSET_FLAGS, true),
      };
    });
  }

  /** Guest store; its outcome. */
  guestStore(gpa: bigint, value: bigint, size = 8, vcpu = 0): number {
    return this.u32("vcpuStore", vcpu, gpa, size, value);
  }
  /** Guest load; its outcome and value. */
  guestLoad(gpa: bigint, size = 8, vcpu = 0): { outcome: number; value: bigint } {
    const outcome = this.u32("vcpuLoad", vcpu, gpa, size, Access.Read);
    return { outcome, value: this.u64("vcpuValue", vcpu) };
  }
  guestModify(gpa: bigint, op: number, value: bigint, { expected = 0n, size = 8, vcpu = 0 } = {}): number {
    return this.u32("vcpuModify", vcpu, gpa, size, op, value, expected);
  }
  /** Leaf SPTE of a gfn under the current root; 0 for none. */
  leaf(gfn: bigint): bigint {
    return this.u64("kvmLeaf", this.host, gfn);
  }
  leafPfn(gfn: bigint): number {
    return Number((this.leaf(gfn) & layout.PTE_ADDRESS) >> 12n);
  }
  get leaves(): number {
    return Number(this.u64("kvmLeafCount", this.host));
  }
  get tables(): number {
    return this.u32("kvmTableCount");
  }
  /** Gives all of KVM's tables back; what the test must find then: nothing held, nothing out of balance. */
  quiesce(): { tables: number; imbalance: number; open: number; active: number } {
    this.raw["kvmUnloadAll"]!(this.host);
    return {
      tables: this.tables,
      imbalance: this.imbalance,
      open: this.u32("kvmInvalidateInProgress"),
      active: this.u32("kvmActiveInvalidations"),
    };
  }
}

/** What `quiesce` finds in a machine in which nothing was lost. */
export const QUIET = { tables: 0, imbalance: 0, open: 0, active: 0 };

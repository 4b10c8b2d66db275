/**
 * guestmmu as a library: machines, and what is known of their protocol. Runs in Node and in browsers; threads are the
 * embedder's affair (`Machine.attach`), or that of `guestmmu/worker`. All that `guestmmu/walker` has is here as well.
 */

export * from "./walker/index.js";

export { ERROR_SENTENCES, type GuestMmuErrorJson } from "./errors.js";
export { type BuildName } from "./core/module.js";
export { type LabImports } from "./core/core.js";
export { type WasmMemory } from "./core/wasm.js";
export { PROFILES, SWITCH_SENTENCES, type ProfileName, type ProfileRow } from "./core/profiles.js";
export { RULES, ruleRow, type RuleName, type RuleRow } from "./core/rules.js";
export {
  gfn,
  gfnOf,
  gpaOf,
  hva,
  pfn,
  type Gfn,
  type GfnLike,
  type Hva,
  type HvaLike,
  type Pfn,
  type PfnLike,
} from "./machine/address.js";
export {
  pageFaultBits,
  valueOf,
  type AccessOk,
  type AccessResult,
  type AlignmentCheck,
  type EptMisconfiguration,
  type EptViolation,
  type GeneralProtection,
  type HostFault,
  type Interrupted,
  type Missing,
  type MmioExit,
  type NestedPageFault,
  type PageFault,
  type PageFaultBits,
  type PmlFull,
  type StackFault,
} from "./machine/access-result.js";
export { type GuestMemory } from "./machine/guest-memory.js";
export {
  type GuestMapping,
  type GuestPageAttributes,
  type GuestPageSize,
  type GuestTables,
  type GuestTablesOptions,
  type LongModeRegisters,
} from "./machine/guest-tables.js";
export { type DirectIo, type DirectTransfer, type PinOptions, type PinnedPage } from "./machine/direct-io.js";
export { type FileOptions, type HostDevice, type HostFile, type HostFiles } from "./machine/host-files.js";
export {
  type ForkedChild,
  type HostMapping,
  type HostMm,
  type HostPageSize,
  type HostStatistics,
  type HostVma,
  type MmapOptions,
  type Protection,
  type RemapOptions,
} from "./machine/host-mm.js";
export { type KvmMemory, type MapOptions, type PfnCache, type VcpuMapping } from "./machine/kvm-memory.js";
export { type FaultStep, type Lab, type LabFault, type OpenInvalidation } from "./machine/lab.js";
export { Machine, type AttachOptions, type SecondaryLeaf } from "./machine/machine.js";
export { type Memslot, type MemslotSpec, type Memslots } from "./machine/memslots.js";
export {
  MACHINE_LIMITS,
  type MachineConfiguration,
  type MachineOptions,
  type ModuleOptions,
  type TlbGeometry,
  type TlbMode,
} from "./machine/options.js";
export { type StatisticName, type Statistics } from "./machine/state.js";
export { type ModificationLog } from "./machine/nested.js";
export {
  type InstructionResult,
  type Processor,
  type ProcessorNesting,
  type ProcessorRegister,
} from "./machine/processor.js";
export {
  ACCESS_RECORD_SIZE,
  encodeAccess,
  encodeValueAccess,
  VALUE_RECORD_SIZE,
  type ValueAccess,
} from "./machine/records.js";
export {
  type BatchOptions,
  type BatchResult,
  type MmioHandler,
  type InvpcidKind,
  type RegisterName,
  type RegisterResult,
  type TlbInfo,
  type Vcpu,
  type WritableRegisterName,
} from "./machine/vcpu.js";
export { type Width } from "./machine/width.js";

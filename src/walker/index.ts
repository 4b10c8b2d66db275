/** guestmmu/walker: translation over any memory, without the rest of the library. */

export { GuestMmuError, type GuestMmuErrorCode } from "../errors.js";
export { type ModuleSource } from "../core/module.js";
export { type WasmModule } from "../core/wasm.js";
export { describeFault, type AccessFault, type AccessKind } from "../machine/access-result.js";
export {
  gpa,
  gva,
  hpa,
  type Gpa,
  type GpaLike,
  type Gva,
  type GvaLike,
  type Hpa,
  type HpaLike,
} from "../machine/address.js";
export {
  failureOf,
  type BatchFailure,
  type EptFlag,
  type GuestFlag,
  type Translated,
  type Translation,
  type WalkStep,
} from "../machine/translation.js";
export {
  MAPPING_WORDS,
  MappingBits,
  MappingColumn,
  mappingOf,
  type Mapping,
  type MappingBlock,
  type NestedMapping,
} from "./mapping.js";
export { type PhysicalMemory } from "../images/types.js";
export { type WalkableMemory } from "./memory.js";
export {
  PageWalker,
  type ScanEnd,
  type ScanOptions,
  type WalkOptions,
  type WalkerOptions,
} from "./page-walker.js";
export { type EptPaging, type NestedPaging, type NptPaging } from "../machine/nested.js";
export { registersOf, type LoadedRegisters, type WalkerRegisters } from "./registers.js";

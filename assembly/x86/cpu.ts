// The registers that govern translation: what may be written to them, what a write flushes (SDM vol. 3A, 4.10.4.1),
// and the words that walks and TLB hits read in their stead.

import {
  CPU_CONTEXT,
  CPU_CPL,
  CPU_CR0,
  CPU_CR3,
  CPU_CR4,
  CPU_DENY,
  CPU_DENY_TABLE,
  CPU_EFER,
  CPU_EPTP,
  CPU_EPT_VPID_CAP,
  CPU_MODE,
  CPU_NCR3,
  CPU_NESTED_CONTROL,
  CPU_NESTED_MODE,
  CPU_NESTED_RESERVED,
  CPU_NESTED_ROOT,
  CPU_NESTED_TEST,
  CPU_NO_WALK_CACHE,
  CPU_NPT_ROOT,
  CPU_PKRS,
  CPU_PKRU,
  CPU_PML_ADDRESS,
  CPU_PML_INDEX,
  CPU_RESERVED,
  CPU_RFLAGS,
  CPU_ROOT,
  CPU_SECONDARY_CONTROLS,
  CPU_SHAPE,
  CPU_STRUCTURES_BASE,
  CPU_STRUCTURES_MASK,
  CPU_TABLES_TAG,
  CPU_TEST,
  CPU_TLB_BASE,
  CPU_TLB_LARGE_BASE,
  CPU_TLB_LARGE_MASK,
  CPU_TLB_MASK,
  CPU_VPID,
  CPU_VPIDS_SEEN,
  CPU_WALK_CACHE_BASE,
  CPU_WALK_CACHE_MASK,
  Register,
  RegisterWrite,
  Shape,
} from "../layout/cpu";
import { HEADER_BASE, Header, MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { TLB_CONTEXT_EP4TA, TLB_CONTEXT_VPID_SHIFT, TLB_ENTRY_SHIFT } from "../layout/tlb";
import { ACCESS_COUNT, Access } from "../layout/walk";
import { STRUCTURE_SHIFT } from "../layout/structures";
import { WALK_CACHE_ENTRY_SHIFT } from "../layout/walkcache";
import {
  CR0_CD,
  CR0_DEFINED,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR3_NO_FLUSH,
  CR3_PCID,
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  CR4_VALID,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EPTP_AD,
  EPTP_LEVELS,
  EPTP_MEMTYPE,
  EPTP_WB_4LEVEL,
  EPTP_WB_5LEVEL,
  EPT_A,
  EPT_CAP_5LEVEL,
  EPT_CAP_ADVANCED,
  EPT_CAP_EXECUTE_ONLY,
  EPT_VIOLATION_READ,
  EPT_VIOLATION_WRITE,
  EPT_R,
  NP_ENABLE,
  PTE_A,
  PTE_ADDRESS,
  PTE_P,
  PTE_XD,
  RFLAGS_AC,
  RFLAGS_FIXED,
  SECONDARY_MBEC,
  SECONDARY_PML,
} from "./bits";
import { Memory, clearTableCache } from "./memory";
import {
  MODE_4LEVEL,
  MODE_5LEVEL,
  MODE_EPT4,
  MODE_EPT5,
  MODE_NONE,
  MODE_NPT4,
  MODE_NPT5,
  Mode,
} from "./modes";
import {
  OBSTACLE_CLEAN,
  OBSTACLE_EPT_CLEAN,
  OBSTACLE_EPT_NO_READ,
  OBSTACLE_READ_ONLY,
  OBSTACLE_SUPERVISOR,
  OBSTACLE_SUPERVISOR_KEYS,
  OBSTACLE_USER,
  OBSTACLE_USER_KEYS,
  OBSTACLE_XD,
  Obstacles,
} from "./rights";
import {
  Ep4ta,
  Pcids,
  WalkCache,
  tlbDropTablePages,
  tlbFlushAll,
  tlbFlushContext,
  tlbFlushEpt,
  tlbFlushEpts,
  tlbFlushVpid,
  tlbFlushVpids,
  tlbInvalidatePage,
  tlbInvalidatePcid,
  tlbInvalidateVpid,
} from "./tlb";
import { Kind } from "./walk";

/** Tests of register bits. */
class Has {
  @inline static cr0(vcpu: usize, bit: u64): bool {
    return (load<u32>(vcpu + CPU_CR0) & (<u32>bit)) != 0;
  }
  @inline static cr4(vcpu: usize, bit: u64): bool {
    return (load<u32>(vcpu + CPU_CR4) & (<u32>bit)) != 0;
  }
  @inline static efer(vcpu: usize, bit: u64): bool {
    return (load<u32>(vcpu + CPU_EFER) & (<u32>bit)) != 0;
  }
}

/** Sets a vCPU up as after INIT, in protected mode without paging, its TLB empty. */
export function resetCpu(vcpu: usize): void {
  const h = changetype<Header>(HEADER_BASE);
  store<u32>(vcpu + CPU_CR0, <u32>(CR0_PE | CR0_ET));
  store<u64>(vcpu + CPU_CR3, 0);
  store<u32>(vcpu + CPU_CR4, 0);
  store<u32>(vcpu + CPU_EFER, 0);
  store<u32>(vcpu + CPU_RFLAGS, <u32>RFLAGS_FIXED);
  store<u32>(vcpu + CPU_CPL, 0);
  store<u32>(vcpu + CPU_PKRU, 0);
  store<u32>(vcpu + CPU_PKRS, 0);
  store<u64>(vcpu + CPU_EPTP, 0);
  store<u32>(vcpu + CPU_VPID, 0);
  store<u32>(vcpu + CPU_NESTED_CONTROL, 0);
  store<u64>(vcpu + CPU_NCR3, 0);
  store<u32>(vcpu + CPU_SECONDARY_CONTROLS, 0);
  store<u64>(vcpu + CPU_PML_ADDRESS, 0);
  store<u32>(vcpu + CPU_PML_INDEX, 0);
  store<u64>(vcpu + CPU_EPT_VPID_CAP, EPT_CAP_EXECUTE_ONLY | EPT_CAP_5LEVEL);
  const base = <u32>Map.tlb(vcpu);
  const small = h.tlbEntries << TLB_ENTRY_SHIFT;
  store<u32>(vcpu + CPU_TLB_BASE, base);
  store<u32>(vcpu + CPU_TLB_MASK, small - (1 << TLB_ENTRY_SHIFT));
  store<u32>(vcpu + CPU_TLB_LARGE_BASE, h.tlbLargeEntries ? base + small : 0);
  store<u32>(vcpu + CPU_TLB_LARGE_MASK, (h.tlbLargeEntries - 1) << TLB_ENTRY_SHIFT);
  const rows = h.walkCacheEntries ? Map.walkCache(vcpu) : vcpu + CPU_NO_WALK_CACHE;
  store<u32>(vcpu + CPU_WALK_CACHE_BASE, <u32>rows);
  store<u32>(
    vcpu + CPU_WALK_CACHE_MASK,
    h.walkCacheEntries ? (h.walkCacheEntries - 1) << WALK_CACHE_ENTRY_SHIFT : 0,
  );
  const structures = LAB && Map.has(MachineOption.ArchitecturalTlb) ? h.structureEntries : 0;
  store<u32>(vcpu + CPU_STRUCTURES_BASE, structures ? <u32>Map.structures(vcpu) : 0);
  store<u32>(vcpu + CPU_STRUCTURES_MASK, structures ? (structures - 1) << STRUCTURE_SHIFT : 0);
  tlbFlushAll(vcpu);
  updateDerived(vcpu);
}

/** The even bits of a 32-bit word, moved together: AD of all keys, or WD after a shift by one. */
function evenBits(word: u32): u64 {
  let x: u32 = word & 0x5555_5555;
  x = (x | (x >> 1)) & 0x3333_3333;
  x = (x | (x >> 2)) & 0x0f0f_0f0f;
  x = (x | (x >> 4)) & 0x00ff_00ff;
  return (x | (x >> 8)) & 0xffff;
}

/** Keys that a register's AD and WD bits close to a data access (4.6.2). */
function closedKeys(register: u32, write: bool): u64 {
  return evenBits(register) | (write ? evenBits(register >> 1) : 0);
}

/** Obstacles of the guest's tables that stop this kind of access (4.6). */
function denyGuest(vcpu: usize, access: Access): u64 {
  const write = Kind.isWrite(access);
  const fetch = access == Access.Fetch;
  const user = load<u32>(vcpu + CPU_CPL) == 3 && !Kind.isImplicit(access);
  const protect = write && (user || Has.cr0(vcpu, CR0_WP));
  let deny: u64 = user ? OBSTACLE_SUPERVISOR : 0;
  if (write) deny |= OBSTACLE_CLEAN;
  if (protect) deny |= OBSTACLE_READ_ONLY;
  if (fetch && Has.efer(vcpu, EFER_NXE)) deny |= OBSTACLE_XD;
  if (!user) {
    const lifted = (load<u32>(vcpu + CPU_RFLAGS) & (<u32>RFLAGS_AC)) != 0 && !Kind.isImplicit(access);
    if (fetch ? Has.cr4(vcpu, CR4_SMEP) : Has.cr4(vcpu, CR4_SMAP) && !lifted) deny |= OBSTACLE_USER;
  }
  if (fetch) return deny;
  if (Has.cr4(vcpu, CR4_PKE)) deny |= closedKeys(load<u32>(vcpu + CPU_PKRU), protect) << OBSTACLE_USER_KEYS;
  if (Has.cr4(vcpu, CR4_PKS))
    deny |= closedKeys(load<u32>(vcpu + CPU_PKRS), protect) << OBSTACLE_SUPERVISOR_KEYS;
  return deny;
}

/** Nested tables keep accessed and dirty flags: those of AMD always, EPT if it is told to. */
function keepsNestedFlags(vcpu: usize): bool {
  return !Mode.ept(load<u32>(vcpu + CPU_NESTED_MODE)) || (load<u64>(vcpu + CPU_EPTP) & EPTP_AD) != 0;
}

/** Obstacles of the nested tables that stop an access needing these rights: R, W and X of EPT. */
function denyNested(vcpu: usize, bits: u32): u64 {
  // Every access counts as one of user mode to AMD's tables.
  const asUser = Mode.asUser(load<u32>(vcpu + CPU_NESTED_MODE));
  const deny = Obstacles.nestedDeny(bits) | (asUser ? OBSTACLE_EPT_NO_READ : 0);
  return bits & EPT_VIOLATION_WRITE && keepsNestedFlags(vcpu) ? deny | OBSTACLE_EPT_CLEAN : deny;
}

/** Mode of the nested dimension. */
function nestedModeOf(eptp: u64, control: u32): u32 {
  if (eptp) return (eptp & EPTP_LEVELS) == (EPTP_WB_5LEVEL & EPTP_LEVELS) ? MODE_EPT5 : MODE_EPT4;
  if (control & (<u32>NP_ENABLE)) return control & (<u32>CR4_LA57) ? MODE_NPT5 : MODE_NPT4;
  return MODE_NONE;
}

/** What follows from the registers of the nested dimension; `beyond` are the address bits above MAXPHYADDR. */
function updateNested(vcpu: usize, beyond: u64): void {
  const eptp = load<u64>(vcpu + CPU_EPTP);
  const control = load<u32>(vcpu + CPU_NESTED_CONTROL);
  const mode = nestedModeOf(eptp, control);
  const ept = Mode.ept(mode);
  store<u32>(vcpu + CPU_NESTED_MODE, mode);
  const reserved = ept || control & (<u32>EFER_NXE) ? beyond : beyond | PTE_XD;
  store<u64>(vcpu + CPU_NESTED_RESERVED, reserved);
  const flags = ept ? EPT_R | (eptp & EPTP_AD ? EPT_A : 0) : PTE_P | PTE_A;
  store<u64>(vcpu + CPU_NESTED_TEST, reserved | flags);
  const table = (ept ? eptp : load<u64>(vcpu + CPU_NCR3)) & PTE_ADDRESS;
  const root = table < Memory.limit ? <u32>Memory.frame(table) : 0;
  const modeBased = (load<u32>(vcpu + CPU_SECONDARY_CONTROLS) & (<u32>SECONDARY_MBEC)) != 0;
  store<u64>(vcpu + CPU_TABLES_TAG, WalkCache.rootTag(table, ept ? WalkCache.flags(eptp) : 0));
  store<u32>(vcpu + CPU_NESTED_ROOT, mode == MODE_EPT4 && !modeBased ? root : 0);
  store<u32>(vcpu + CPU_NPT_ROOT, mode == MODE_NPT4 ? root : 0);
  const write = keepsNestedFlags(vcpu) ? EPT_VIOLATION_WRITE : 0;
  store<u64>(vcpu + CPU_DENY_TABLE, denyNested(vcpu, EPT_VIOLATION_READ | write));
}

/** Computes all that follows from the registers. To be called after any of them has changed. */
function updateDerived(vcpu: usize): void {
  const eptp = load<u64>(vcpu + CPU_EPTP);
  const cr3 = load<u64>(vcpu + CPU_CR3);
  const paging = Has.cr0(vcpu, CR0_PG);
  const beyond = PTE_ADDRESS & (u64.MAX_VALUE << changetype<Header>(HEADER_BASE).maxphyaddr);
  updateNested(vcpu, beyond);
  const nested = load<u32>(vcpu + CPU_NESTED_MODE);
  const shape = (paging ? Shape.Guest : Shape.None) | (nested != MODE_NONE ? Shape.Nested : Shape.None);
  const mode = !paging ? MODE_NONE : Has.cr4(vcpu, CR4_LA57) ? MODE_5LEVEL : MODE_4LEVEL;
  store<u32>(vcpu + CPU_SHAPE, shape);
  store<u32>(vcpu + CPU_MODE, mode);
  const pcid = Has.cr4(vcpu, CR4_PCIDE) ? cr3 & CR3_PCID : 0;
  const vpid = (<u64>load<u32>(vcpu + CPU_VPID)) << TLB_CONTEXT_VPID_SHIFT;
  // AMD's entries bear the ASID alone: a change of nCR3 does not part them (APM vol. 2 15.16).
  const ep4ta = Mode.asUser(nested) ? TLB_CONTEXT_EP4TA : Ep4ta.of(eptp);
  store<u64>(vcpu + CPU_CONTEXT, pcid | vpid | ep4ta);

  const reserved = beyond | (Has.efer(vcpu, EFER_NXE) ? 0 : PTE_XD);
  store<u64>(vcpu + CPU_RESERVED, reserved);
  store<u64>(vcpu + CPU_TEST, reserved | PTE_P | PTE_A);

  const table = cr3 & PTE_ADDRESS;
  const direct = shape == Shape.Guest && mode == MODE_4LEVEL && table < Memory.limit;
  store<u32>(vcpu + CPU_ROOT, direct ? <u32>Memory.frame(table) : 0);
  clearTableCache(vcpu);
  updateDeny(vcpu);
}

/** Computes the deny masks alone: for changes of CPL, RFLAGS, PKRU and PKRS. */
function updateDeny(vcpu: usize): void {
  const shape = load<u32>(vcpu + CPU_SHAPE);
  for (let access: u32 = 0; access < ACCESS_COUNT; access++) {
    let deny: u64 = 0;
    if (shape & Shape.Guest) deny |= denyGuest(vcpu, access);
    if (shape & Shape.Nested) deny |= denyNested(vcpu, Kind.nested(access));
    store<u64>(vcpu + CPU_DENY + ((<usize>access) << 3), deny);
  }
}

/** MOV to CR0. Of the modes with paging this processor has IA-32e only. */
function writeCr0(vcpu: usize, value: u64): RegisterWrite {
  if (value >> 32 || (value & CR0_PG && !(value & CR0_PE))) return RegisterWrite.GeneralProtection;
  if (value & CR0_NW && !(value & CR0_CD)) return RegisterWrite.GeneralProtection;
  const paging = (value & CR0_PG) != 0;
  const was = Has.cr0(vcpu, CR0_PG);
  if (paging && !was) {
    if (!Has.efer(vcpu, EFER_LME)) return RegisterWrite.Unsupported;
    if (!Has.cr4(vcpu, CR4_PAE)) return RegisterWrite.GeneralProtection;
  }
  if (!paging && Has.cr4(vcpu, CR4_PCIDE)) return RegisterWrite.GeneralProtection;
  store<u32>(vcpu + CPU_CR0, <u32>((value & CR0_DEFINED) | CR0_ET));
  const efer = load<u32>(vcpu + CPU_EFER) & ~(<u32>EFER_LMA);
  store<u32>(vcpu + CPU_EFER, paging ? efer | (<u32>EFER_LMA) : efer);
  // Required where paging goes; where it comes, entries without it have to.
  if (paging != was) tlbFlushContext(vcpu, Pcids.All, 0, false);
  return RegisterWrite.Ok;
}

/** MOV to CR3: flushes what is not global of the PCID that it loads, unless bit 63 asks it not to. */
function writeCr3(vcpu: usize, value: u64): RegisterWrite {
  const pcids = Has.cr4(vcpu, CR4_PCIDE);
  const keep = pcids && (value & CR3_NO_FLUSH) != 0;
  const cr3 = pcids ? value & ~CR3_NO_FLUSH : value;
  const beyond = u64.MAX_VALUE << changetype<Header>(HEADER_BASE).maxphyaddr;
  if (cr3 & beyond) return RegisterWrite.GeneralProtection;
  store<u64>(vcpu + CPU_CR3, cr3);
  updateDerived(vcpu);
  // Without PCIDs all there is belongs to PCID 000H.
  if (!pcids) tlbFlushContext(vcpu, Pcids.All, 0, true);
  else if (!keep) tlbFlushContext(vcpu, Pcids.One, cr3 & CR3_PCID, true);
  return RegisterWrite.Ok;
}

/** MOV to CR4: flushes all when PGE changes or PCIDE falls, and the present PCID when PAE changes or SMEP rises. */
function writeCr4(vcpu: usize, value: u64): RegisterWrite {
  if (value & ~CR4_VALID) return RegisterWrite.GeneralProtection;
  const changed = value ^ (<u64>load<u32>(vcpu + CPU_CR4));
  const long = Has.efer(vcpu, EFER_LMA);
  if (long && (changed & CR4_LA57 || !(value & CR4_PAE))) return RegisterWrite.GeneralProtection;
  if (changed & value & CR4_PCIDE && (!long || load<u64>(vcpu + CPU_CR3) & CR3_PCID)) {
    return RegisterWrite.GeneralProtection;
  }
  store<u32>(vcpu + CPU_CR4, <u32>value);
  if (changed & CR4_PGE || changed & ~value & CR4_PCIDE) tlbFlushContext(vcpu, Pcids.All, 0, false);
  else if (changed & CR4_PAE || changed & value & CR4_SMEP) {
    tlbFlushContext(vcpu, Pcids.One, load<u64>(vcpu + CPU_CONTEXT) & CR3_PCID, false);
  }
  return RegisterWrite.Ok;
}

/** WRMSR to IA32_EFER: LMA is the processor's. */
function writeEfer(vcpu: usize, value: u64): RegisterWrite {
  if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) return RegisterWrite.GeneralProtection;
  const old = load<u32>(vcpu + CPU_EFER);
  if (((<u32>value) ^ old) & (<u32>EFER_LME) && Has.cr0(vcpu, CR0_PG)) return RegisterWrite.GeneralProtection;
  store<u32>(vcpu + CPU_EFER, ((<u32>value) & ~(<u32>EFER_LMA)) | (old & (<u32>EFER_LMA)));
  return RegisterWrite.Ok;
}

/** True if `value` has bits that no physical address has. */
function isBeyond(value: u64): bool {
  return (value & (u64.MAX_VALUE << changetype<Header>(HEADER_BASE).maxphyaddr)) != 0;
}

/** True if VM entry takes this EPT pointer (27.2.1.1). */
function isEptp(vcpu: usize, value: u64): bool {
  const type = value & EPTP_MEMTYPE;
  const levels = value & EPTP_LEVELS;
  const five =
    (load<u64>(vcpu + CPU_EPT_VPID_CAP) & EPT_CAP_5LEVEL) != 0 && levels == (EPTP_WB_5LEVEL & EPTP_LEVELS);
  if (!five && levels != (EPTP_WB_4LEVEL & EPTP_LEVELS)) return false;
  return (type == 0 || type == 6) && !(value & 0xf80) && !isBeyond(value);
}

/** The EPT pointer of the VMCS, 0 for none: checked as VM entry checks it. Flushes nothing. */
function writeEptp(vcpu: usize, value: u64): RegisterWrite {
  if (value) {
    if (load<u32>(vcpu + CPU_NESTED_CONTROL) & (<u32>NP_ENABLE)) return RegisterWrite.Unsupported;
    if (!isEptp(vcpu, value)) return RegisterWrite.GeneralProtection;
  }
  store<u64>(vcpu + CPU_EPTP, value);
  return RegisterWrite.Ok;
}

/** AMD nested paging, on or off, and what of the host's registers its tables are walked with. Flushes nothing. */
function writeNestedControl(vcpu: usize, value: u64): RegisterWrite {
  if (value & ~(NP_ENABLE | EFER_NXE | CR4_LA57)) return RegisterWrite.GeneralProtection;
  if (value & NP_ENABLE && load<u64>(vcpu + CPU_EPTP)) return RegisterWrite.Unsupported;
  if (value != load<u32>(vcpu + CPU_NESTED_CONTROL)) tlbDropTablePages(vcpu);
  store<u32>(vcpu + CPU_NESTED_CONTROL, <u32>value);
  return RegisterWrite.Ok;
}

/** nCR3 of the VMCB. Flushes nothing. */
function writeNcr3(vcpu: usize, value: u64): RegisterWrite {
  if (isBeyond(value)) return RegisterWrite.GeneralProtection;
  store<u64>(vcpu + CPU_NCR3, value);
  return RegisterWrite.Ok;
}

/** The secondary controls that concern translation: checked as VM entry checks them. Flushes nothing. */
function writeSecondaryControls(vcpu: usize, value: u64): RegisterWrite {
  if (value & ~(SECONDARY_PML | SECONDARY_MBEC)) return RegisterWrite.GeneralProtection;
  store<u32>(vcpu + CPU_SECONDARY_CONTROLS, <u32>value);
  return RegisterWrite.Ok;
}

function writePmlAddress(vcpu: usize, value: u64): RegisterWrite {
  if (value & 0xfff || isBeyond(value)) return RegisterWrite.GeneralProtection;
  store<u64>(vcpu + CPU_PML_ADDRESS, value);
  return RegisterWrite.Ok;
}

/** Which processor it is, not an instruction: what it does not know is refused. */
function writeEptVpidCap(vcpu: usize, value: u64): RegisterWrite {
  if (value & ~(EPT_CAP_EXECUTE_ONLY | EPT_CAP_5LEVEL | EPT_CAP_ADVANCED)) return RegisterWrite.Unsupported;
  store<u64>(vcpu + CPU_EPT_VPID_CAP, value);
  return RegisterWrite.Ok;
}

/**
 * Loads the EPT table in frame `pfn` as VM entry would, accessed and dirty flags as the machine is configured, and drops
 * everything cached: the frame may have been another table before. 0: no EPT.
 */
export function loadEptp(vcpu: usize, pfn: u32): void {
  const flags = Map.has(MachineOption.EptAccessedDirty) ? EPTP_AD : 0;
  // KVM's tables know nothing of what an embedder had switched on for his own.
  store<u32>(vcpu + CPU_NESTED_CONTROL, 0);
  store<u32>(vcpu + CPU_SECONDARY_CONTROLS, 0);
  store<u64>(vcpu + CPU_EPTP, pfn ? ((<u64>pfn) << 12) | EPTP_WB_4LEVEL | flags : 0);
  tlbFlushAll(vcpu);
  updateDerived(vcpu);
}

function write32(vcpu: usize, at: usize, value: u64, limit: u64): RegisterWrite {
  if (value > limit) return RegisterWrite.GeneralProtection;
  store<u32>(vcpu + at, <u32>value);
  return RegisterWrite.Ok;
}

/** Writes a register as the instruction that loads it would: all of it, or nothing. */
export function writeRegister(vcpu: usize, register: Register, value: u64): RegisterWrite {
  let result: RegisterWrite = RegisterWrite.Unsupported;
  switch (register) {
    case Register.Cr0:
      result = writeCr0(vcpu, value);
      break;
    case Register.Cr3:
      return writeCr3(vcpu, value);
    case Register.Cr4:
      result = writeCr4(vcpu, value);
      break;
    case Register.Efer:
      result = writeEfer(vcpu, value);
      break;
    case Register.Rflags:
      result = write32(vcpu, CPU_RFLAGS, value | RFLAGS_FIXED, u32.MAX_VALUE);
      break;
    case Register.Cpl:
      result = write32(vcpu, CPU_CPL, value, 3);
      break;
    case Register.Pkru:
      result = write32(vcpu, CPU_PKRU, value, u32.MAX_VALUE);
      break;
    case Register.Pkrs:
      result = write32(vcpu, CPU_PKRS, value, u32.MAX_VALUE);
      break;
    case Register.Eptp:
      result = writeEptp(vcpu, value);
      break;
    case Register.Vpid:
      if (value != load<u32>(vcpu + CPU_VPID)) store<u32>(vcpu + CPU_VPIDS_SEEN, 1);
      result = write32(vcpu, CPU_VPID, value, 0xffff);
      break;
    case Register.NestedControl:
      result = writeNestedControl(vcpu, value);
      break;
    case Register.Ncr3:
      result = writeNcr3(vcpu, value);
      break;
    case Register.SecondaryControls:
      result = writeSecondaryControls(vcpu, value);
      break;
    case Register.PmlAddress:
      result = writePmlAddress(vcpu, value);
      break;
    case Register.PmlIndex:
      result = write32(vcpu, CPU_PML_INDEX, value, 0xffff);
      break;
    case Register.EptVpidCap:
      result = writeEptVpidCap(vcpu, value);
      break;
    default:
      break;
  }
  if (result != RegisterWrite.Ok) return result;
  if (register >= Register.Rflags && register <= Register.Pkrs) updateDeny(vcpu);
  else updateDerived(vcpu);
  return result;
}

export function readRegister(vcpu: usize, register: Register): u64 {
  switch (register) {
    case Register.Cr0:
      return load<u32>(vcpu + CPU_CR0);
    case Register.Cr3:
      return load<u64>(vcpu + CPU_CR3);
    case Register.Cr4:
      return load<u32>(vcpu + CPU_CR4);
    case Register.Efer:
      return load<u32>(vcpu + CPU_EFER);
    case Register.Rflags:
      return load<u32>(vcpu + CPU_RFLAGS);
    case Register.Cpl:
      return load<u32>(vcpu + CPU_CPL);
    case Register.Pkru:
      return load<u32>(vcpu + CPU_PKRU);
    case Register.Pkrs:
      return load<u32>(vcpu + CPU_PKRS);
    case Register.Eptp:
      return load<u64>(vcpu + CPU_EPTP);
    case Register.Vpid:
      return load<u32>(vcpu + CPU_VPID);
    case Register.NestedControl:
      return load<u32>(vcpu + CPU_NESTED_CONTROL);
    case Register.Ncr3:
      return load<u64>(vcpu + CPU_NCR3);
    case Register.SecondaryControls:
      return load<u32>(vcpu + CPU_SECONDARY_CONTROLS);
    case Register.PmlAddress:
      return load<u64>(vcpu + CPU_PML_ADDRESS);
    case Register.PmlIndex:
      return load<u32>(vcpu + CPU_PML_INDEX);
    case Register.EptVpidCap:
      return load<u64>(vcpu + CPU_EPT_VPID_CAP);
    default:
      return 0;
  }
}

/** True if the address is canonical in the present paging mode, or there is none. */
function isCanonical(vcpu: usize, gva: u64): bool {
  const mode = load<u32>(vcpu + CPU_MODE);
  return mode == MODE_NONE || Mode.canonical(mode, gva);
}

/** INVLPG. A non-canonical address does nothing; the CPL has to be 0. */
export function invalidatePage(vcpu: usize, gva: u64): RegisterWrite {
  if (load<u32>(vcpu + CPU_CPL)) return RegisterWrite.GeneralProtection;
  if (isCanonical(vcpu, gva)) tlbInvalidatePage(vcpu, gva);
  return RegisterWrite.Ok;
}

/** INVPCID (SDM vol. 2A): `type` is the register operand, `low` and `gva` the halves of the descriptor. */
export function invalidatePcid(vcpu: usize, type: u64, low: u64, gva: u64): RegisterWrite {
  if (load<u32>(vcpu + CPU_CPL) || type > 3 || low & ~CR3_PCID) return RegisterWrite.GeneralProtection;
  if (type < 2 && low && !Has.cr4(vcpu, CR4_PCIDE)) return RegisterWrite.GeneralProtection;
  if (type == 0 && !isCanonical(vcpu, gva)) return RegisterWrite.GeneralProtection;
  if (type == 0) tlbInvalidatePcid(vcpu, gva, low);
  else tlbFlushContext(vcpu, type == 1 ? Pcids.One : Pcids.All, low, type != 2);
  return RegisterWrite.Ok;
}

/** INVEPT (SDM vol. 3C, VMX instructions): `low` is the EPT pointer of the descriptor. */
export function invalidateEpt(vcpu: usize, type: u64, low: u64): RegisterWrite {
  if (load<u32>(vcpu + CPU_CPL)) return RegisterWrite.GeneralProtection;
  if (type == 2) tlbFlushEpts(vcpu);
  else if (type == 1 && isEptp(vcpu, low)) tlbFlushEpt(vcpu, low);
  else return RegisterWrite.VmFail;
  return RegisterWrite.Ok;
}

/** INVVPID (SDM vol. 3C, VMX instructions): `low` is the lower half of the descriptor, `gva` the upper. */
export function invalidateVpid(vcpu: usize, type: u64, low: u64, gva: u64): RegisterWrite {
  if (load<u32>(vcpu + CPU_CPL)) return RegisterWrite.GeneralProtection;
  if (type > 3 || low >> 16 || (type != 2 && low == 0)) return RegisterWrite.VmFail;
  if (type == 0 && !isCanonical(vcpu, gva)) return RegisterWrite.VmFail;
  if (type == 0) tlbInvalidateVpid(vcpu, gva, <u32>low);
  else if (type == 2) tlbFlushVpids(vcpu);
  else tlbFlushVpid(vcpu, <u32>low, type == 3);
  return RegisterWrite.Ok;
}

/** VM entry or VM exit with "enable VPID" 0: what VPID 0000H has is dropped, for all PCIDs and EP4TAs (29.4.3.1). */
export function invalidateOnVmTransition(vcpu: usize): void {
  tlbFlushVpid(vcpu, 0, false);
}

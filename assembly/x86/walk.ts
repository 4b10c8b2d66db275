// The walks: of the guest's tables, of EPT, and of both. Each has two forms made of the same steps.
//
//   fast   straight-line, 4 levels, nothing to set, nothing wrong: one test an entry. Anything else: 0, try the loop.
//   loop   every mode, faults, accessed and dirty flags, the record of the steps. 0: the record says why not.
//
// Accessed and dirty flags are set by compare-and-swap; if another processor changed the entry meanwhile, the walk
// begins again, as hardware does.
//
// A walk returns a `Translation` (x86/rights.ts).

import {
  CPU_CPL,
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
  CPU_PML_ADDRESS,
  CPU_PML_INDEX,
  CPU_RESERVED,
  CPU_ROOT,
  CPU_SECONDARY_CONTROLS,
  CPU_SHAPE,
  CPU_TABLES_GENERATION,
  CPU_TEST,
  CPU_WALK_CACHE_BASE,
  Shape,
} from "../layout/cpu";
import {
  Access,
  Outcome,
  WALK_ERROR,
  WALK_GPA,
  WALK_GVA,
  WALK_OUTCOME,
  WALK_PA,
  WALK_STEPS,
  WALK_STEP_COUNT,
  WALK_STEP_MAX,
  WALK_STEP_NESTED,
  WALK_STEP_SHIFT,
} from "../layout/walk";
import { WALK_CACHE_GENERATION, WALK_CACHE_HOST, WALK_CACHE_TAG } from "../layout/walkcache";
import { Ops, Order } from "../sync/ops";
import {
  CR4_SMEP,
  EFER_NXE,
  EPT_A,
  EPT_CAP_ADVANCED,
  EPT_CAP_EXECUTE_ONLY,
  EPT_D,
  EPT_PS,
  EPT_RWX,
  EPT_VIOLATION_FETCH,
  EPT_VIOLATION_FINAL,
  EPT_VIOLATION_GUEST_WRITABLE,
  EPT_VIOLATION_GUEST_XD,
  EPT_VIOLATION_LINEAR,
  EPT_VIOLATION_READ,
  EPT_VIOLATION_RIGHTS_SHIFT,
  EPT_VIOLATION_USER,
  EPT_VIOLATION_WRITE,
  EPT_VIOLATION_XU,
  EPT_XU,
  NPF_FINAL,
  NPF_TABLE,
  PFERR_ID,
  PFERR_P,
  PFERR_PK,
  PFERR_RSVD,
  PFERR_US,
  PFERR_WR,
  PML_ENTRIES,
  PTE_A,
  PTE_ADDRESS,
  PTE_D,
  PTE_P,
  PTE_PS,
  SECONDARY_MBEC,
  SECONDARY_PML,
} from "./bits";
import { Choice } from "./choice";
import { Memory, Policy } from "./memory";
import { MODE_4LEVEL, MODE_EPT4, MODE_NPT4, Mode } from "./modes";
import {
  ENDED,
  OBSTACLE_CLEAN,
  OBSTACLES_EPT,
  OBSTACLE_EPT_CLEAN,
  OBSTACLE_READ_ONLY,
  OBSTACLE_USER,
  OBSTACLE_USER_KEYS,
  OBSTACLE_XD,
  Obstacles,
  Translation,
} from "./rights";
import { Speculation } from "./speculation";
import { Found, Step } from "./step";
import {
  By,
  STRUCTURE_RIGHTS_EPT,
  STRUCTURE_RIGHTS_ORDINARY,
  Structures,
  structureFill,
  structureFor,
  structureFrame,
} from "./structures";
import { WalkCache } from "./tlb";

/** The attributes of a kind of access. */
export class Kind {
  @inline static isWrite(access: Access): bool {
    return (access & 1) != 0;
  }
  @inline static isStack(access: Access): bool {
    return access >= Access.StackRead;
  }
  @inline static isImplicit(access: Access): bool {
    return access == Access.ImplicitRead || access == Access.ImplicitWrite;
  }
  /** R, W, X of an EPT entry that the access needs; the same bits say in a qualification what it was. */
  @inline static nested(access: Access): u32 {
    if (access == Access.Fetch) return EPT_VIOLATION_FETCH;
    if (access == Access.Modify) return EPT_VIOLATION_READ | EPT_VIOLATION_WRITE;
    return Kind.isWrite(access) ? EPT_VIOLATION_WRITE : EPT_VIOLATION_READ;
  }
  /** Deny mask of the access in the present control state. */
  @inline static deny(vcpu: usize, access: Access): u64 {
    return load<u64>(vcpu + CPU_DENY + ((<usize>access) << 3));
  }
}

/** Records an outcome; returns 0, for the walk that ends with it to return. */
function endWalk(vcpu: usize, outcome: Outcome, error: u64): u64 {
  store<u32>(vcpu + WALK_OUTCOME, outcome);
  store<u64>(vcpu + WALK_ERROR, error);
  return 0;
}

function missing(vcpu: usize, pa: u64): usize {
  store<u64>(vcpu + WALK_PA, pa);
  return <usize>endWalk(vcpu, Outcome.Missing, 0);
}

/** Records what stopped the walk of the nested tables at a guest-physical address. */
function endNested(vcpu: usize, gpa: u64, outcome: Outcome, error: u64): u64 {
  store<u64>(vcpu + WALK_GPA, gpa);
  return endWalk(vcpu, outcome, error);
}

/** Records a #PF: `cause` is P, RSVD and PK as the walk found them; the access adds the other bits (4.7). */
function pageFault(vcpu: usize, access: Access, cause: u32): u64 {
  let error = cause;
  if (Kind.isWrite(access)) error |= PFERR_WR;
  if (load<u32>(vcpu + CPU_CPL) == 3 && !Kind.isImplicit(access)) error |= PFERR_US;
  if (access == Access.Fetch) {
    const told = load<u32>(vcpu + CPU_EFER) & (<u32>EFER_NXE) || load<u32>(vcpu + CPU_CR4) & (<u32>CR4_SMEP);
    if (told) error |= PFERR_ID;
  }
  return endWalk(vcpu, Outcome.PageFault, error);
}

/** Records one entry. */
function recordStep(vcpu: usize, pa: u64, entry: u64, level: u64): void {
  const count = load<u32>(vcpu + WALK_STEP_COUNT);
  if (count >= WALK_STEP_MAX) return;
  store<u32>(vcpu + WALK_STEP_COUNT, count + 1);
  const step = vcpu + WALK_STEPS + ((<usize>count) << WALK_STEP_SHIFT);
  store<u64>(step, entry);
  store<u64>(step, (pa << 1) | level, 8);
}

/** What a processor says of an access that the nested tables stopped. */
class NestedFault {
  /**
   * Exit qualification of an EPT violation. `guest` is the guest's translation of the linear address, 0 if the access was
   * to one of its tables; `all` the AND of the EPT entries used, 0 if one was not present.
   */
  @inline static qualification(vcpu: usize, bits: u32, guest: u64, all: u64): u32 {
    let q = bits | EPT_VIOLATION_LINEAR | (((<u32>all) & 7) << EPT_VIOLATION_RIGHTS_SHIFT);
    if (Ept.modeBased(vcpu) && all & EPT_XU) q |= EPT_VIOLATION_XU;
    return guest ? q | EPT_VIOLATION_FINAL | NestedFault.advanced(vcpu, guest) : q;
  }
  /** What the guest's tables say of the page: bits 11:9, of processors that tell. */
  @inline static advanced(vcpu: usize, guest: u64): u32 {
    if ((load<u64>(vcpu + CPU_EPT_VPID_CAP) & EPT_CAP_ADVANCED) == 0) return 0;
    return (
      (guest & OBSTACLE_USER ? EPT_VIOLATION_USER : 0) |
      (guest & OBSTACLE_READ_ONLY ? 0 : EPT_VIOLATION_GUEST_WRITABLE) |
      (guest & OBSTACLE_XD ? EPT_VIOLATION_GUEST_XD : 0)
    );
  }
  /** EXITINFO1 of a nested page fault; `cause` is P and RSVD as the walk found them. */
  @inline static exitInfo(vcpu: usize, bits: u32, guest: u64, cause: u32): u64 {
    let error = cause | PFERR_US;
    if (bits & EPT_VIOLATION_WRITE) error |= PFERR_WR;
    const nxe = (load<u32>(vcpu + CPU_NESTED_CONTROL) & (<u32>EFER_NXE)) != 0;
    if (bits & EPT_VIOLATION_FETCH && nxe) error |= PFERR_ID;
    return (<u64>error) | (guest ? NPF_FINAL : NPF_TABLE);
  }
}

/** Controls of EPT. */
class Ept {
  /** Mode-based execute control: XU (bit 10) for fetches from user-mode linear addresses, X for the others. */
  @inline static modeBased(vcpu: usize): bool {
    return (load<u32>(vcpu + CPU_SECONDARY_CONTROLS) & (<u32>SECONDARY_MBEC)) != 0;
  }
  @inline static logs(vcpu: usize): bool {
    return (load<u32>(vcpu + CPU_SECONDARY_CONTROLS) & (<u32>SECONDARY_PML)) != 0;
  }
  /** False and the record if the page-modification log is full: then no flag is set at all (29.3.6). */
  @inline static mayLog(vcpu: usize, gpa: u64): bool {
    if (load<u32>(vcpu + CPU_PML_INDEX) < PML_ENTRIES) return true;
    endNested(vcpu, gpa, Outcome.PmlFull, 0);
    return false;
  }
  /** Where the next entry of the log lies; 0 and the record if its page is missing. */
  @inline static logEntry(policy: Policy, vcpu: usize): usize {
    const index = load<u32>(vcpu + CPU_PML_INDEX);
    const pa = load<u64>(vcpu + CPU_PML_ADDRESS) + ((<u64>index) << 3);
    const at = Memory.locate(policy, pa);
    return at ? at : missing(vcpu, pa);
  }
  /** Logs a page whose dirty flag was set. The index goes from 0 to FFFFH. */
  @inline static log(vcpu: usize, at: usize, gpa: u64): void {
    Ops.store<u64>(at, gpa & ~(<u64>0xfff), Order.Relaxed);
    store<u32>(vcpu + CPU_PML_INDEX, (load<u32>(vcpu + CPU_PML_INDEX) - 1) & 0xffff);
  }
}

/** The walk of the nested tables, guest-physical to host-physical: of EPT, and of AMD nested paging. */
export class NestedWalk {
  /** 4 levels in frames, from the top table at `root`. `mode` is a constant. */
  @inline static fast(mode: u32, root: usize, vcpu: usize, gpa: u64): u64 {
    const limit = Memory.limit;
    const test = load<u64>(vcpu + CPU_NESTED_TEST);
    if (root == 0 || gpa >> 48 != 0) return 0;
    const e4 = Ops.load<u64>(root + Mode.offset(4, gpa), Order.Relaxed);
    const t3 = e4 & PTE_ADDRESS;
    if (!Step.plain(mode, 4, false, test, e4) || t3 >= limit) return 0;
    const e3 = Ops.load<u64>(Memory.frame(t3) + Mode.offset(3, gpa), Order.Relaxed);
    if (e3 & EPT_PS) return NestedWalk.fastLeaf(mode, 3, test, limit, e4 & e3, e4 | e3, e3, gpa);
    const t2 = e3 & PTE_ADDRESS;
    if (!Step.plain(mode, 3, false, test, e3) || t2 >= limit) return 0;
    const e2 = Ops.load<u64>(Memory.frame(t2) + Mode.offset(2, gpa), Order.Relaxed);
    if (e2 & EPT_PS) return NestedWalk.fastLeaf(mode, 2, test, limit, e4 & e3 & e2, e4 | e3 | e2, e2, gpa);
    const t1 = e2 & PTE_ADDRESS;
    if (!Step.plain(mode, 2, false, test, e2) || t1 >= limit) return 0;
    const e1 = Ops.load<u64>(Memory.frame(t1) + Mode.offset(1, gpa), Order.Relaxed);
    return NestedWalk.fastLeaf(mode, 1, test, limit, e4 & e3 & e2 & e1, e4 | e3 | e2 | e1, e1, gpa);
  }

  @inline static fastLeaf(
    mode: u32,
    level: u32,
    test: u64,
    limit: u64,
    all: u64,
    any: u64,
    leaf: u64,
    gpa: u64,
  ): u64 {
    const page = Step.page(level, leaf, gpa);
    if (!Step.plain(mode, level, true, test, leaf) || page >= limit) return 0;
    return Translation.make(page, NestedWalk.obstacles(mode, all, any, leaf), level - 1, 0);
  }

  /** Obstacles that the entries raise. */
  @inline static obstacles(mode: u32, all: u64, any: u64, leaf: u64): u64 {
    return Mode.ept(mode) ? Obstacles.nested(all, leaf) : Obstacles.nestedOrdinary(all, any, leaf);
  }

  /**
   * Everything. `mode` is a constant, and says of the number of levels nothing. `bits` are the rights needed
   * (`Kind.nested`); `guest` is the guest's translation of the linear address, 0 for an access to one of its tables;
   * without `effects` no flag is set; with `record` the steps are written down.
   */
  @inline static loop(
    mode: u32,
    policy: Policy,
    vcpu: usize,
    gpa: u64,
    bits: u32,
    guest: u64,
    effects: bool,
    record: bool,
  ): u64 {
    const common = load<u64>(vcpu + CPU_NESTED_RESERVED);
    const now = load<u32>(vcpu + CPU_NESTED_MODE);
    const modeBased = Mode.ept(mode) && Ept.modeBased(vcpu);
    const present = Mode.ept(mode) ? EPT_RWX | (modeBased ? EPT_XU : 0) : PTE_P;
    const accessed = Mode.ept(mode) ? EPT_A : PTE_A;
    const dirty = Mode.ept(mode) ? EPT_D : PTE_D;
    const flags = effects && (load<u64>(vcpu + CPU_NESTED_TEST) & accessed) != 0;
    let found = Found.Absent;
    let entry: u64 = 0;
    let all: u64 = 0;
    if (gpa >> Mode.width(now) == 0) {
      let table = (Mode.ept(mode) ? load<u64>(vcpu + CPU_EPTP) : load<u64>(vcpu + CPU_NCR3)) & PTE_ADDRESS;
      let level: u32 = Mode.levels(now);
      let any: u64 = 0;
      all = u64.MAX_VALUE;
      const cached = Structures.on(vcpu) && effects && policy == Policy.Frames;
      if (cached) {
        const row = structureFor(vcpu, gpa, By.GuestPhysical);
        if (row) {
          level = Structures.level(row) - 1;
          table = Structures.table(row);
          all = Structures.all(row, Mode.ept(mode) ? STRUCTURE_RIGHTS_EPT : STRUCTURE_RIGHTS_ORDINARY);
          any = Structures.any(row);
        }
      }
      while (true) {
        const pa = table + Mode.offset(level, gpa);
        const at = Memory.locate(policy, pa);
        if (at == 0) return missing(vcpu, pa);
        if (!Speculation.begin(vcpu)) return 0;
        entry = Ops.load<u64>(at, Order.Relaxed);
        Speculation.end(vcpu);
        if (record) recordStep(vcpu, pa, entry, level | WALK_STEP_NESTED);
        found = Step.find(mode, level, present, common, entry);
        if (Mode.ept(mode) && found >= Found.Table && !Step.readable(entry)) {
          if (!(load<u64>(vcpu + CPU_EPT_VPID_CAP) & EPT_CAP_EXECUTE_ONLY)) found = Found.Invalid;
        }
        if (found < Found.Table) break;
        const leaf = found == Found.Page;
        const allOfThem = all & entry;
        const anyOfThem = any | entry;
        let obstacles: u64 = 0;
        if (leaf) {
          obstacles = NestedWalk.obstacles(mode, allOfThem, anyOfThem, entry);
          if (modeBased) obstacles = Obstacles.modeBased(obstacles, allOfThem, (guest & OBSTACLE_USER) != 0);
          // A page that is not user mode's has all accesses of AMD's nested walk against it.
          if (obstacles & Obstacles.nestedDeny(Mode.ept(mode) ? bits : bits | EPT_VIOLATION_READ)) {
            all = allOfThem;
            break;
          }
        }
        const set = accessed | (leaf && bits & EPT_VIOLATION_WRITE ? dirty : 0);
        if (flags && (entry & set) != set) {
          let log: usize = 0;
          if (Mode.ept(mode) && Ept.logs(vcpu)) {
            if (!Ept.mayLog(vcpu, gpa)) return 0;
            if (set & ~entry & dirty) {
              log = Ept.logEntry(policy, vcpu);
              if (log == 0) return 0;
            }
          }
          if (!Speculation.begin(vcpu)) return 0;
          // Lost to another writer: look at the same place again. The step is recorded anew.
          if (Ops.cas<u64>(at, entry, entry | set, Order.Full) != entry) {
            Speculation.end(vcpu);
            if (record) store<u32>(vcpu + WALK_STEP_COUNT, load<u32>(vcpu + WALK_STEP_COUNT) - 1);
            continue;
          }
          if (Mode.ept(mode) && log) Ept.log(vcpu, log, gpa);
          Speculation.end(vcpu);
          if (set & dirty) obstacles &= ~OBSTACLE_EPT_CLEAN;
        }
        if (leaf) return Translation.make(Step.page(level, entry, gpa), obstacles, level - 1, 0);
        all = allOfThem;
        any = anyOfThem;
        table = entry & PTE_ADDRESS;
        if (cached) {
          structureFill(vcpu, gpa, By.GuestPhysical, level, table, structureFrame(table), all, any);
        }
        level--;
      }
    }
    if (!Mode.ept(mode)) {
      const cause = found == Found.Absent ? 0 : found == Found.Invalid ? PFERR_P | PFERR_RSVD : PFERR_P;
      const info = NestedFault.exitInfo(vcpu, bits, guest, cause);
      return endNested(vcpu, gpa, Outcome.NestedPageFault, info);
    }
    if (found == Found.Invalid) return endNested(vcpu, gpa, Outcome.EptMisconfiguration, 0);
    if (found == Found.Absent) all = 0;
    const qualification = NestedFault.qualification(vcpu, bits, guest, all);
    return endNested(vcpu, gpa, Outcome.EptViolation, qualification);
  }
}

/** The fast form, of whichever nested tables there are: EPT first, as KVM's guests have it here. */
export function nestedFast(vcpu: usize, gpa: u64): u64 {
  const root: usize = load<u32>(vcpu + CPU_NESTED_ROOT);
  return root ? NestedWalk.fast(MODE_EPT4, root, vcpu, gpa) : nestedFastOrdinary(vcpu, gpa);
}
function nestedFastOrdinary(vcpu: usize, gpa: u64): u64 {
  return NestedWalk.fast(MODE_NPT4, load<u32>(vcpu + CPU_NPT_ROOT), vcpu, gpa);
}
export function nestedLoop(
  policy: Policy,
  vcpu: usize,
  gpa: u64,
  bits: u32,
  guest: u64,
  effects: bool,
  record: bool,
): u64 {
  return Mode.ept(load<u32>(vcpu + CPU_NESTED_MODE))
    ? NestedWalk.loop(MODE_EPT4, policy, vcpu, gpa, bits, guest, effects, record)
    : nestedLoopOrdinary(policy, vcpu, gpa, bits, guest, effects, record);
}
function nestedLoopOrdinary(
  policy: Policy,
  vcpu: usize,
  gpa: u64,
  bits: u32,
  guest: u64,
  effects: bool,
  record: bool,
): u64 {
  return NestedWalk.loop(MODE_NPT4, policy, vcpu, gpa, bits, guest, effects, record);
}

/** True if EPT maps nothing at `gpa`, and nothing else is remarkable on the way there. */
function isHole(vcpu: usize, gpa: u64): bool {
  const test = load<u64>(vcpu + CPU_NESTED_TEST);
  let at: usize = load<u32>(vcpu + CPU_NESTED_ROOT);
  if (at == 0 || gpa >> 48 != 0) return false;
  let level = Mode.levels(MODE_EPT4);
  while (true) {
    const entry = Ops.load<u64>(at + Mode.offset(level, gpa), Order.Relaxed);
    if ((entry & EPT_RWX) == 0) return true;
    const table = entry & PTE_ADDRESS;
    // What holds of an entry of level 4 that is plain holds of any that refers to a table.
    if (
      level == 1 ||
      entry & EPT_PS ||
      !Step.plain(MODE_EPT4, 4, false, test, entry) ||
      table >= Memory.limit
    ) {
      return false;
    }
    at = Memory.frame(table);
    level--;
  }
}

/**
 * The fast form's own end, for the commonest of faults: the guest allows the access, with no flag to set, and EPT maps
 * nothing there. Records the violation and returns ENDED; 0 if it is anything else, for the loop to find out.
 */
export function endAtHole(vcpu: usize, gva: u64, page: u64, access: Access, guest: u64): u64 {
  if (Translation.denies(guest, Kind.deny(vcpu, access)) || !isHole(vcpu, page)) return 0;
  store<u64>(vcpu + WALK_GVA, gva);
  store<u32>(vcpu + WALK_STEP_COUNT, 0);
  const error = NestedFault.qualification(vcpu, Kind.nested(access), guest, 0);
  endNested(vcpu, page | (gva & 0xfff), Outcome.EptViolation, error);
  return ENDED;
}

/** A place in a guest's table. */
class TableEntry {
  /** Where it lies in this memory, through EPT if there is one; 0 and the record if it cannot be reached. */
  @inline static locate(
    policy: Policy,
    vcpu: usize,
    pa: u64,
    write: bool,
    effects: bool,
    record: bool,
  ): usize {
    if (!(load<u32>(vcpu + CPU_SHAPE) & Shape.Nested)) {
      const at = Memory.locate(policy, pa);
      return at ? at : missing(vcpu, pa);
    }
    // Where nested tables keep accessed and dirty flags, each access to a guest's table counts as a write (SDM 29.3.3.2,
    // APM vol. 2 15.25.5): always, then, with those of AMD.
    const counts = write || (load<u64>(vcpu + CPU_DENY_TABLE) & OBSTACLE_EPT_CLEAN) != 0;
    const bits = EPT_VIOLATION_READ | (counts ? EPT_VIOLATION_WRITE : 0);
    const t = nestedLoop(policy, vcpu, pa, bits, 0, effects, record);
    if (t == 0) return 0;
    const hpa = Translation.page(t) | (pa & 0xfff);
    const at = Memory.locate(policy, hpa);
    return at ? at : missing(vcpu, hpa);
  }
}

/** Address of an entry of the guest's tables that a quiet walk reads, through EPT if there is one; 0 and the record. */
export function locateTableEntry(policy: Policy, vcpu: usize, pa: u64): usize {
  return TableEntry.locate(policy, vcpu, pa, false, false, false);
}

/** A page of the guest's tables, found by way of the walk cache. */
class TablePage {
  /** Where it lies in this memory; 0 unless EPT lets it be read as a table, with nothing to set. */
  @inline static find(vcpu: usize, gpa: u64): usize {
    const row = WalkCache.row(vcpu, gpa);
    if (
      load<u64>(row + WALK_CACHE_TAG) == WalkCache.tag(vcpu, gpa) &&
      load<u32>(row + WALK_CACHE_GENERATION) == load<u32>(vcpu + CPU_TABLES_GENERATION) &&
      !(LAB && Choice.may())
    ) {
      return load<u32>(row + WALK_CACHE_HOST);
    }
    return findTablePage(vcpu, gpa);
  }
}

function findTablePage(vcpu: usize, gpa: u64): usize {
  const t = nestedFast(vcpu, gpa);
  if (t == 0 || t & load<u64>(vcpu + CPU_DENY_TABLE)) return 0;
  const host = Memory.frame(Translation.page(t));
  if (load<u32>(vcpu + CPU_WALK_CACHE_BASE) != <u32>(vcpu + CPU_NO_WALK_CACHE)) {
    const row = WalkCache.row(vcpu, gpa);
    store<u64>(row + WALK_CACHE_TAG, WalkCache.tag(vcpu, gpa));
    store<u32>(row + WALK_CACHE_HOST, <u32>host);
    store<u32>(row + WALK_CACHE_GENERATION, load<u32>(vcpu + CPU_TABLES_GENERATION));
  }
  return host;
}

/** How the setting of a guest's flags ended. */
enum Marked {
  Done = 0,
  /** An entry changed meanwhile: walk again. */
  Again = 1,
  /** EPT does not let the flag be written: the record says so. */
  Stopped = 2,
}

/** The walk of the guest's tables: linear to physical, or guest-physical below EPT. */
export class GuestWalk {
  /** 4 levels, tables in frames, no EPT. */
  @inline static fast(vcpu: usize, gva: u64, access: Access): u64 {
    const limit = Memory.limit;
    const test = load<u64>(vcpu + CPU_TEST);
    const root: usize = load<u32>(vcpu + CPU_ROOT);
    if (root == 0 || !Mode.canonical(MODE_4LEVEL, gva)) return 0;
    const e4 = Ops.load<u64>(root + Mode.offset(4, gva), Order.Relaxed);
    const t3 = e4 & PTE_ADDRESS;
    if (!Step.plain(MODE_4LEVEL, 4, false, test, e4) || t3 >= limit) return 0;
    const e3 = Ops.load<u64>(Memory.frame(t3) + Mode.offset(3, gva), Order.Relaxed);
    if (e3 & PTE_PS) return GuestWalk.fastLeaf(3, vcpu, access, limit, e4 & e3, e4 | e3, e3, gva);
    const t2 = e3 & PTE_ADDRESS;
    if (!Step.plain(MODE_4LEVEL, 3, false, test, e3) || t2 >= limit) return 0;
    const e2 = Ops.load<u64>(Memory.frame(t2) + Mode.offset(2, gva), Order.Relaxed);
    if (e2 & PTE_PS) return GuestWalk.fastLeaf(2, vcpu, access, limit, e4 & e3 & e2, e4 | e3 | e2, e2, gva);
    const t1 = e2 & PTE_ADDRESS;
    if (!Step.plain(MODE_4LEVEL, 2, false, test, e2) || t1 >= limit) return 0;
    const e1 = Ops.load<u64>(Memory.frame(t1) + Mode.offset(1, gva), Order.Relaxed);
    return GuestWalk.fastLeaf(1, vcpu, access, limit, e4 & e3 & e2 & e1, e4 | e3 | e2 | e1, e1, gva);
  }

  @inline static fastLeaf(
    level: u32,
    vcpu: usize,
    access: Access,
    limit: u64,
    all: u64,
    any: u64,
    leaf: u64,
    gva: u64,
  ): u64 {
    const page = Step.page(level, leaf, gva);
    if (!Step.plain(MODE_4LEVEL, level, true, load<u64>(vcpu + CPU_TEST), leaf) || page >= limit) return 0;
    const t = Translation.make(page, Obstacles.ordinary(all, any, leaf), level - 1, leaf);
    return Translation.denies(t, Kind.deny(vcpu, access)) ? 0 : t;
  }

  /** 4 levels over EPT: 24 references, fewer where the walk cache knows the tables. */
  @inline static fastNested(vcpu: usize, gva: u64, access: Access): u64 {
    const test = load<u64>(vcpu + CPU_TEST);
    if (load<u32>(vcpu + CPU_MODE) != MODE_4LEVEL || !Mode.canonical(MODE_4LEVEL, gva)) return 0;
    const t4 = TablePage.find(vcpu, load<u64>(vcpu + CPU_CR3) & PTE_ADDRESS);
    if (t4 == 0) return 0;
    const e4 = Ops.load<u64>(t4 + Mode.offset(4, gva), Order.Relaxed);
    if (!Step.plain(MODE_4LEVEL, 4, false, test, e4)) return 0;
    const t3 = TablePage.find(vcpu, e4 & PTE_ADDRESS);
    if (t3 == 0) return 0;
    const e3 = Ops.load<u64>(t3 + Mode.offset(3, gva), Order.Relaxed);
    if (e3 & PTE_PS) return GuestWalk.finalNested(3, vcpu, access, e4 & e3, e4 | e3, e3, gva);
    if (!Step.plain(MODE_4LEVEL, 3, false, test, e3)) return 0;
    const t2 = TablePage.find(vcpu, e3 & PTE_ADDRESS);
    if (t2 == 0) return 0;
    const e2 = Ops.load<u64>(t2 + Mode.offset(2, gva), Order.Relaxed);
    if (e2 & PTE_PS) return GuestWalk.finalNested(2, vcpu, access, e4 & e3 & e2, e4 | e3 | e2, e2, gva);
    if (!Step.plain(MODE_4LEVEL, 2, false, test, e2)) return 0;
    const t1 = TablePage.find(vcpu, e2 & PTE_ADDRESS);
    if (t1 == 0) return 0;
    const e1 = Ops.load<u64>(t1 + Mode.offset(1, gva), Order.Relaxed);
    return GuestWalk.finalNested(1, vcpu, access, e4 & e3 & e2 & e1, e4 | e3 | e2 | e1, e1, gva);
  }

  /** The leaf of a walk over EPT, and the last four references. */
  @inline static finalNested(
    level: u32,
    vcpu: usize,
    access: Access,
    all: u64,
    any: u64,
    leaf: u64,
    gva: u64,
  ): u64 {
    const gpa = Step.page(level, leaf, gva);
    if (!Step.plain(MODE_4LEVEL, level, true, load<u64>(vcpu + CPU_TEST), leaf)) return 0;
    const nested = nestedFast(vcpu, gpa);
    const guest = Translation.make(gpa, Obstacles.ordinary(all, any, leaf), level - 1, leaf);
    if (nested == 0) return endAtHole(vcpu, gva, gpa, access, guest);
    const t = Translation.combine(guest, nested);
    return Translation.denies(t, Kind.deny(vcpu, access)) ? 0 : t;
  }

  /** Everything but the last nested walk: the result's address is what the guest's leaf says. */
  @inline static loop(policy: Policy, vcpu: usize, gva: u64, access: Access, effects: bool): u64 {
    const mode = load<u32>(vcpu + CPU_MODE);
    if (!Mode.canonical(mode, gva)) {
      return endWalk(vcpu, Kind.isStack(access) ? Outcome.StackFault : Outcome.GeneralProtection, 0);
    }
    const common = load<u64>(vcpu + CPU_RESERVED);
    let cached = Structures.on(vcpu) && effects && policy == Policy.Frames;
    while (true) {
      store<u32>(vcpu + WALK_STEP_COUNT, 0);
      let table = load<u64>(vcpu + CPU_CR3) & PTE_ADDRESS;
      let all: u64 = u64.MAX_VALUE;
      let any: u64 = 0;
      let entry: u64;
      let level = Mode.levels(mode);
      const row = cached ? structureFor(vcpu, gva, By.Linear) : 0;
      if (row) {
        level = Structures.level(row) - 1;
        table = Structures.table(row);
        all = Structures.all(row, STRUCTURE_RIGHTS_ORDINARY);
        any = Structures.any(row);
      }
      // Where the table lies, if a row knows it.
      let host: usize = row ? Structures.host(row) : 0;
      while (true) {
        const pa = table + Mode.offset(level, gva);
        const at = host
          ? host + Mode.offset(level, gva)
          : TableEntry.locate(policy, vcpu, pa, false, effects, true);
        if (at == 0) return 0;
        host = 0;
        if (!Speculation.begin(vcpu)) return 0;
        entry = Ops.load<u64>(at, Order.Relaxed);
        Speculation.end(vcpu);
        recordStep(vcpu, pa, entry, level);
        const found = Step.find(MODE_4LEVEL, level, PTE_P, common, entry);
        if (found < Found.Table) {
          return pageFault(vcpu, access, found == Found.Absent ? 0 : PFERR_P | PFERR_RSVD);
        }
        all &= entry;
        any |= entry;
        if (found == Found.Page) break;
        table = entry & PTE_ADDRESS;
        level--;
      }
      const t = Translation.make(
        Step.page(level, entry, gva),
        Obstacles.ordinary(all, any, entry),
        level - 1,
        entry,
      );
      const cause = guestDenied(vcpu, t, access);
      if (cause) return pageFault(vcpu, access, cause);
      if (!effects) return t;
      const marked = GuestWalk.mark(policy, vcpu, Kind.isWrite(access));
      if (marked == Marked.Stopped) return 0;
      if (cached && marked == Marked.Done) fillStructures(vcpu, gva, row);
      cached = false;
      if (marked == Marked.Done) return Kind.isWrite(access) ? t & ~OBSTACLE_CLEAN : t;
    }
  }

  /** Sets the accessed flags of the entries that were recorded, and the dirty flag of the last for a write. */
  @inline static mark(policy: Policy, vcpu: usize, write: bool): Marked {
    const count = load<u32>(vcpu + WALK_STEP_COUNT);
    for (let i: u32 = 0; i < count; i++) {
      const step = vcpu + WALK_STEPS + ((<usize>i) << WALK_STEP_SHIFT);
      const where = load<u64>(step, 8);
      if (where & WALK_STEP_NESTED) continue;
      const entry = load<u64>(step);
      const set = PTE_A | (write && i == count - 1 ? PTE_D : 0);
      if ((entry & set) == set) continue;
      const at = TableEntry.locate(policy, vcpu, (where >> 4) << 3, true, true, false);
      if (at == 0) return Marked.Stopped;
      if (!Speculation.begin(vcpu)) return Marked.Stopped;
      const lost = Ops.cas<u64>(at, entry, entry | set, Order.Full) != entry;
      Speculation.end(vcpu);
      if (lost) return Marked.Again;
    }
    return Marked.Done;
  }
}

/** Enters the upper entries of a walk that has set its flags in the paging-structure caches. It began at `row`, if not 0. */
function fillStructures(vcpu: usize, gva: u64, row: usize): void {
  let all = row ? Structures.all(row, STRUCTURE_RIGHTS_ORDINARY) : u64.MAX_VALUE;
  let any = row ? Structures.any(row) : 0;
  const nested = (load<u32>(vcpu + CPU_SHAPE) & Shape.Nested) != 0;
  for (let i: u32 = 0, count = load<u32>(vcpu + WALK_STEP_COUNT); i < count; i++) {
    const step = vcpu + WALK_STEPS + ((<usize>i) << WALK_STEP_SHIFT);
    const where = load<u64>(step, 8);
    const entry = load<u64>(step);
    const level = <u32>(where & 7);
    if (where & WALK_STEP_NESTED || Step.isLeaf(MODE_4LEVEL, level, entry)) continue;
    all &= entry;
    any |= entry;
    const table = entry & PTE_ADDRESS;
    structureFill(
      vcpu,
      gva,
      By.Linear,
      level,
      table,
      nested ? tableFrame(vcpu, table) : structureFrame(table),
      all,
      any,
    );
  }
}

/** Where the guest's table at `gpa` lies in this memory, if nothing has to be set for it to be read; else 0. */
function tableFrame(vcpu: usize, gpa: u64): usize {
  const t = nestedLoop(Policy.Frames, vcpu, gpa, EPT_VIOLATION_READ, 0, false, false);
  if (t == 0 || t & load<u64>(vcpu + CPU_DENY_TABLE)) return 0;
  return structureFrame(Translation.page(t));
}

/**
 * A fault that the tables do not ask for any more: an entry of the TLB says less than they do by now, and the processor
 * has not looked (4.10.4.3, 29.4.3.4). `rights` are the entry's; the record is that of the walk that would succeed.
 */
export function endSpuriously(vcpu: usize, access: Access, rights: u64): void {
  const deny = rights & Kind.deny(vcpu, access) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);
  const nested = deny & OBSTACLES_EPT;
  if (deny != nested) {
    pageFault(vcpu, access, deny >> OBSTACLE_USER_KEYS ? PFERR_P | PFERR_PK : PFERR_P);
    return;
  }
  const bits = Kind.nested(access);
  if (!Mode.ept(load<u32>(vcpu + CPU_NESTED_MODE))) {
    endWalk(vcpu, Outcome.NestedPageFault, NestedFault.exitInfo(vcpu, bits, rights, PFERR_P));
    return;
  }
  const found = Obstacles.entryRights(rights, Ept.modeBased(vcpu));
  endWalk(vcpu, Outcome.EptViolation, NestedFault.qualification(vcpu, bits, rights, found));
}

/** Error-code bits P and PK if the guest's rights deny the access, 0 if not. Clean entries and EPT deny nothing here. */
function guestDenied(vcpu: usize, t: u64, access: Access): u32 {
  const deny = Kind.deny(vcpu, access) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);
  if (!Translation.denies(t, deny)) return 0;
  const key = Translation.denies(t, deny & (u64.MAX_VALUE << OBSTACLE_USER_KEYS));
  return key ? PFERR_P | PFERR_PK : PFERR_P;
}

export function guestFast(vcpu: usize, gva: u64, access: Access): u64 {
  return GuestWalk.fast(vcpu, gva, access);
}
export function guestNestedFast(vcpu: usize, gva: u64, access: Access): u64 {
  return GuestWalk.fastNested(vcpu, gva, access);
}
/** The loop form. Its policy is asked at each reference: it is the way of faults and flags, and compiled once. */
export function guestLoop(policy: Policy, vcpu: usize, gva: u64, access: Access, effects: bool): u64 {
  return GuestWalk.loop(policy, vcpu, gva, access, effects);
}

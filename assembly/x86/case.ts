// Cases: whole situations of a processor, each with its registers and the few words of memory that matter, run one after
// the other without a way out of the core. The walks are those of everybody else, over windows.

import { Register, RegisterWrite } from "../layout/cpu";
import { CASE_REGISTERS, CASE_SIZE, CASE_WORD_SIZE, Case, CaseWord } from "../layout/case";
import { Map, PAGE_SHIFT } from "../layout/map";
import { Outcome, WALK_ERROR, WALK_GPA, WALK_GVA, WALK_PA } from "../layout/walk";
import { CR4_PCIDE } from "./bits";
import { readRegister, resetCpu, writeRegister } from "./cpu";
import { clearWindows, findWindow, putWindow } from "./memory";
import { translateWindows } from "./translate";

/** Loads one register of the case, or as much of it as `mask` shows. False: the case says that it was refused. */
function loadRegister(vcpu: usize, at: usize, register: Register, mask: u64): bool {
  const value = load<u64>(at + CASE_REGISTERS + ((<usize>register) << 3)) & mask;
  if (writeRegister(vcpu, register, value) == RegisterWrite.Ok) return true;
  changetype<Case>(at).refused = <u32>register + 1;
  return false;
}

/**
 * Loads all registers, in the order in which a processor takes them: long mode first, PCIDE only when it is there, what the
 * processor can do of EPT before the EPTP.
 */
function loadRegisters(vcpu: usize, at: usize): bool {
  resetCpu(vcpu);
  const all = u64.MAX_VALUE;
  if (!loadRegister(vcpu, at, Register.Efer, all)) return false;
  if (!loadRegister(vcpu, at, Register.Cr4, ~CR4_PCIDE)) return false;
  if (!loadRegister(vcpu, at, Register.Cr0, all)) return false;
  if (!loadRegister(vcpu, at, Register.Cr4, all)) return false;
  if (!loadRegister(vcpu, at, Register.Cr3, all)) return false;
  if (!loadRegister(vcpu, at, Register.EptVpidCap, all)) return false;
  for (let register: u32 = Register.Rflags; register < <u32>Register.EptVpidCap; register++) {
    if (!loadRegister(vcpu, at, register, all)) return false;
  }
  return true;
}

/** Makes the case's words all there is of physical memory: the rest of their pages is zero, other pages are missing. */
function putWords(words: usize, count: u32): void {
  clearWindows();
  for (let i: u32 = 0; i < count; i++) {
    const word = changetype<CaseWord>(words + <usize>i * CASE_WORD_SIZE);
    const held = findWindow(word.pa & ~(<u64>0xfff));
    const page = held ? held : putWindow(word.pa);
    if (!held) memory.fill(page, 0, 1 << PAGE_SHIFT);
    store<u64>(page + ((<usize>word.pa) & 0xff8), word.value);
  }
}

function compareWords(words: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const word = changetype<CaseWord>(words + <usize>i * CASE_WORD_SIZE);
    word.changed = load<u64>(findWindow(word.pa & ~(<u64>7))) ^ word.value;
  }
}

/** Makes the access: one translation, or two if it goes on in the next page. */
function access(vcpu: usize, at: usize): void {
  const c = changetype<Case>(at);
  const head: u32 = 4096 - ((<u32>c.gva) & 4095);
  c.outcome = translateWindows(vcpu, c.gva, c.access, true);
  c.pa = load<u64>(vcpu + WALK_PA);
  c.secondPa = 0;
  if (c.outcome == Outcome.Ok && c.size > head) {
    c.outcome = translateWindows(vcpu, c.gva + head, c.access, true);
    c.secondPa = load<u64>(vcpu + WALK_PA);
  }
  c.error = load<u64>(vcpu + WALK_ERROR);
  c.faultGva = load<u64>(vcpu + WALK_GVA);
  c.gpa = load<u64>(vcpu + WALK_GPA);
  c.pmlIndex = <u32>readRegister(vcpu, Register.PmlIndex);
}

/** Runs the case at `at` if it ends before `end`; returns where it ends, 0 if it was not run. */
export function runCase(vcpu: usize, at: usize, end: usize): usize {
  if (at + CASE_SIZE > end) return 0;
  const count = changetype<Case>(at).words;
  const words = at + CASE_SIZE;
  const windows = Map.windowCount;
  // As many windows as are kept (`putWindow`): a word that lost its window would be missing.
  if (count > windows - (windows >> 2) || words + <usize>count * CASE_WORD_SIZE > end) return 0;
  changetype<Case>(at).refused = 0;
  if (loadRegisters(vcpu, at)) {
    putWords(words, count);
    access(vcpu, at);
    compareWords(words, count);
  }
  return words + <usize>count * CASE_WORD_SIZE;
}

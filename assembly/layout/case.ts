// One case of `runCases`: an access by a processor in a given state, over memory of which a few words are given. The
// results are written into the case itself. A batch buffer holds one case after the other, each with its words:
//
//     0  Case       what is asked, and the room for what came of it
//   208  CaseWord   24 bytes each, `words` of them
//
// Registers that a case does not need are 0; the order in the array is that of `Register`.

import { Register } from "./cpu";

/** Places for registers in a case: as many as there are. */
export const CASE_REGISTER_COUNT: u32 = <u32>Register.EptVpidCap + 1;

@unmanaged
export class Case {
  gva: u64;
  /** `Access`. */
  access: u32;
  /** Bytes of the access, 1 to 4096: with more than are left in its page, it is one access to two pages. */
  size: u32;
  /** Words of memory that follow. */
  words: u32;

  // Results.
  /** `Outcome`, of the second page if the first one was translated. */
  outcome: u32;
  /** The processor did not take the value of this register: its `Register` + 1. 0: it took them all. */
  refused: u32;
  /** #PF error code, exit qualification or EXITINFO1, as in the `Walk`. */
  error: u64;
  /** Linear address that the outcome is about: CR2 at a #PF. */
  faultGva: u64;
  /** Guest-physical address of the access, or of the entry that could not be reached. */
  gpa: u64;
  /** Physical address of the first byte. */
  pa: u64;
  /** Of the first byte in the second page, 0 if there is none. */
  secondPa: u64;
  /** PML index after the access. */
  pmlIndex: u32;
}
/** Registers follow, u64 each. */
export const CASE_REGISTERS: usize = 80;
export const CASE_SIZE: usize = CASE_REGISTERS + ((<usize>CASE_REGISTER_COUNT) << 3);

/** An aligned word of physical memory. */
@unmanaged
export class CaseWord {
  /** Physical address; host-physical with nested paging. */
  pa: u64;
  /** Value before the access. */
  value: u64;
  /** Result: value after XOR value before. */
  changed: u64;
}
export const CASE_WORD_SIZE: usize = offsetof<CaseWord>();

export const CASE_GVA: usize = offsetof<Case>("gva");
export const CASE_ACCESS: usize = offsetof<Case>("access");
export const CASE_BYTES: usize = offsetof<Case>("size");
export const CASE_WORDS: usize = offsetof<Case>("words");
export const CASE_OUTCOME: usize = offsetof<Case>("outcome");
export const CASE_ERROR: usize = offsetof<Case>("error");
export const CASE_REFUSED: usize = offsetof<Case>("refused");
export const CASE_FAULT_GVA: usize = offsetof<Case>("faultGva");
export const CASE_GPA: usize = offsetof<Case>("gpa");
export const CASE_PA: usize = offsetof<Case>("pa");
export const CASE_SECOND_PA: usize = offsetof<Case>("secondPa");
export const CASE_PML_INDEX: usize = offsetof<Case>("pmlIndex");

if (offsetof<Case>() > CASE_REGISTERS) ERROR("a case must end before its registers");

/** The registers of a vCPU by name, as both of its views have them. */

import { Register } from "../core/layout.generated.js";

export const VCPU_REGISTERS = {
  cr0: Register.Cr0,
  cr3: Register.Cr3,
  cr4: Register.Cr4,
  efer: Register.Efer,
  rflags: Register.Rflags,
  cpl: Register.Cpl,
  pkru: Register.Pkru,
  pkrs: Register.Pkrs,
  eptp: Register.Eptp,
  vpid: Register.Vpid,
  nestedControl: Register.NestedControl,
  ncr3: Register.Ncr3,
  secondaryControls: Register.SecondaryControls,
} as const;

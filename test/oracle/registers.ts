// Which values the registers take, from the manuals: SDM vol. 3A 2.5 (control registers), 4.1.2 and 4.10.1 (what has to be
// on before what), 2.2.1 (IA32_EFER), vol. 3C 27.2.1.1 (fields of the VMCS), APM vol. 2 15.25.3.
import * as layout from "../../src/core/layout.generated.js";

const { Register, RegisterWrite } = layout;
const { Ok, GeneralProtection, Unsupported } = RegisterWrite;

export interface Processor {
  maxphyaddr: number;
}

const bit = (value: bigint, index: number): boolean => ((value >> BigInt(index)) & 1n) === 1n;
const anyOf = (value: bigint, ...indices: number[]): boolean => indices.some((i) => bit(value, i));
/** True if bits outside of these are set. */
const beyond = (value: bigint, ...indices: number[]): boolean =>
  (value & ~indices.reduce((sum, i) => sum | (1n << BigInt(i)), 0n)) !== 0n;

const PE = 0;
const NW = 29;
const CD = 30;
const PG = 31;
const PAE = 5;
const LA57 = 12;
const PCIDE = 17;
const LME = 8;
const LMA = 10;

/** The registers of a processor as its software sees them; every write says what becomes of it. */
export class Registers {
  readonly values = new Map<number, bigint>();

  constructor(private readonly processor: Processor) {
    for (const register of Object.values(Register)) this.values.set(register, 0n);
    this.values.set(Register.Cr0, 0x11n);
    this.values.set(Register.Rflags, 2n);
    // Execute-only translations and walks of five levels.
    this.values.set(Register.EptVpidCap, 0x81n);
  }

  private get(register: number): bigint {
    return this.values.get(register)!;
  }
  private physical(value: bigint): boolean {
    return value >> BigInt(this.processor.maxphyaddr) === 0n;
  }
  private get paging(): boolean {
    return bit(this.get(Register.Cr0), PG);
  }

  write(register: number, value: bigint): number {
    const status = this.check(register, value);
    if (status === Ok) this.take(register, value);
    return status;
  }

  private check(register: number, value: bigint): number {
    const refuse = (condition: boolean): number => (condition ? GeneralProtection : Ok);
    switch (register) {
      case Register.Cr0:
        return this.checkCr0(value);
      case Register.Cr3:
        // Bit 63 is a command while CR4.PCIDE is set.
        return refuse(!this.physical(bit(this.get(Register.Cr4), PCIDE) ? BigInt.asUintN(63, value) : value));
      case Register.Cr4:
        return refuse(this.cr4Refused(value));
      case Register.Efer:
        return refuse(
          beyond(value, 0, LME, LMA, 11) ||
            (this.paging && bit(value, LME) !== bit(this.get(Register.Efer), LME)),
        );
      case Register.Cpl:
        return refuse(value > 3n);
      case Register.Rflags:
      case Register.Pkru:
      case Register.Pkrs:
        return refuse(value >> 32n !== 0n);
      case Register.Vpid:
      case Register.PmlIndex:
        return refuse(value >> 16n !== 0n);
      case Register.Eptp:
        return this.checkEptp(value);
      case Register.NestedControl:
        if (beyond(value, 0, 11, 12)) return GeneralProtection;
        // One nested dimension at a time: no processor has both.
        return bit(value, 0) && this.get(Register.Eptp) !== 0n ? Unsupported : Ok;
      case Register.Ncr3:
        return refuse(!this.physical(value));
      case Register.SecondaryControls:
        return refuse(beyond(value, 17, 22));
      case Register.PmlAddress:
        return refuse((value & 0xfffn) !== 0n || !this.physical(value));
      case Register.EptVpidCap:
        return beyond(value, 0, 7, 22) ? Unsupported : Ok;
      default:
        return Unsupported;
    }
  }

  private checkCr0(value: bigint): number {
    if (value >> 32n !== 0n) return GeneralProtection;
    if (bit(value, PG) && !bit(value, PE)) return GeneralProtection;
    if (bit(value, NW) && !bit(value, CD)) return GeneralProtection;
    if (bit(value, PG) && !this.paging) {
      // Without EFER.LME that is 32-bit or PAE paging.
      if (!bit(this.get(Register.Efer), LME)) return Unsupported;
      if (!bit(this.get(Register.Cr4), PAE)) return GeneralProtection;
    }
    return !bit(value, PG) && bit(this.get(Register.Cr4), PCIDE) ? GeneralProtection : Ok;
  }

  private cr4Refused(value: bigint): boolean {
    // VME PVI TSD DE PSE PAE MCE, PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 VMXE, FSGSBASE PCIDE OSXSAVE, SMEP SMAP PKE, PKS.
    const known = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 20, 21, 22, 24];
    if (beyond(value, ...known)) return true;
    const old = this.get(Register.Cr4);
    const long = bit(this.get(Register.Efer), LMA);
    if (long && (!bit(value, PAE) || bit(value, LA57) !== bit(old, LA57))) return true;
    const rises = bit(value, PCIDE) && !bit(old, PCIDE);
    return rises && (!long || (this.get(Register.Cr3) & 0xfffn) !== 0n);
  }

  private checkEptp(value: bigint): number {
    if (value === 0n) return Ok;
    if (bit(this.get(Register.NestedControl), 0)) return Unsupported;
    const type = value & 7n;
    const levels = ((value >> 3n) & 7n) + 1n;
    const five = bit(this.get(Register.EptVpidCap), 7);
    const wrong =
      (type !== 0n && type !== 6n) ||
      !(levels === 4n || (five && levels === 5n)) ||
      anyOf(value, 7, 8, 9, 10, 11) ||
      !this.physical(value);
    return wrong ? GeneralProtection : Ok;
  }

  private take(register: number, value: bigint): void {
    switch (register) {
      case Register.Cr0: {
        // PE MP EM TS ET NE, WP, AM, NW CD PG: other bits stay clear, ET stays set. EFER.LMA follows PG while LME is set.
        this.values.set(register, (value & 0xe005_003fn) | 0x10n);
        const efer = this.get(Register.Efer);
        this.values.set(Register.Efer, bit(value, PG) ? efer | 0x400n : efer & ~0x400n);
        return;
      }
      case Register.Cr3:
        this.values.set(register, BigInt.asUintN(63, value));
        return;
      case Register.Efer:
        this.values.set(register, (value & ~0x400n) | (this.get(register) & 0x400n));
        return;
      case Register.Rflags:
        this.values.set(register, value | 2n);
        return;
      default:
        this.values.set(register, value);
    }
  }
}

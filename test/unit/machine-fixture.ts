// A small machine with one memslot, as most tests of src/machine want it; and the books of every machine that a test made,
// by whatever call, checked when the test is over.
import { afterEach, expect } from "vitest";
import { GuestMmuError, type GuestMmuErrorCode } from "../../src/errors.js";
import { Machine, type GuestTables, type Hva, type MachineOptions, type Vcpu } from "../../src/index.js";

export const PAGE = 4096;
export const MIB = 1 << 20;

/** Runs `action` and expects it to throw a GuestMmuError of this code with a hint; returns it. */
export function refused(code: GuestMmuErrorCode, action: () => unknown): GuestMmuError {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown, "nothing was thrown").toBeInstanceOf(GuestMmuError);
  const error = thrown as GuestMmuError;
  expect(`${error.code}: ${error.message}`).toMatch(new RegExp(`^${code}: `));
  expect(error.hint).toMatch(/^\S.*[.)]$/s);
  return error;
}

export interface Fixture {
  readonly machine: Machine;
  /** Where guest-physical 0 lies in the VMM. */
  readonly hva: Hva;
  readonly vcpu: Vcpu;
}

/** A machine whose guest has `length` bytes at guest-physical 0, paging off. */
export function machineWithSlot(options: MachineOptions = {}, length = 8 * MIB): Fixture {
  const machine = Machine.create({ frames: 2048, ...options });
  const hva = machine.mm.mmap(length);
  machine.memslots.add({ gpa: 0, hva, length });
  return { machine, hva, vcpu: machine.vcpu(0) };
}

/** The same in long mode, with tables at 1 MiB and nothing mapped yet. */
export function machineInLongMode(
  options: MachineOptions = {},
  length = 8 * MIB,
): Fixture & { tables: GuestTables } {
  const fixture = machineWithSlot(options, length);
  const tables = fixture.machine.guestTables({ at: MIB });
  fixture.vcpu.enterLongMode(tables);
  return { ...fixture, tables };
}

/** The books of the machine balance: every reference and mapping is accounted for. */
export function expectBalanced(machine: Machine): void {
  machine.unloadGuest();
  expect(machine.mm.countImbalances()).toBe(0);
}

/** Machines whose books are open: one view of each memory. A machine that is broken on purpose is disposed of. */
const made = new Map<object, Machine>();

function remember(machine: Machine): Machine {
  made.set(machine.memory, machine);
  return machine;
}

const { create, open, restore, attach } = Machine;
const { clone, dispose } = Machine.prototype;
Machine.create = (...given) => remember(create(...given));
Machine.open = async (...given) => remember(await open(...given));
Machine.restore = (...given) => remember(restore(...given));
Machine.attach = (...given) => {
  const machine = attach(...given);
  if (!made.has(machine.memory)) remember(machine);
  return machine;
};
Machine.prototype.clone = function (this: Machine, ...given) {
  return remember(clone.apply(this, given));
};
Machine.prototype.dispose = function (this: Machine) {
  if (!this.disposed && made.get(this.memory) === this) made.delete(this.memory);
  dispose.call(this);
};

/** Checks the books of every machine made since the last time, and forgets them. Rules left out may leak: not those. */
export function closeBooks(): void {
  const machines = [...made.values()];
  made.clear();
  for (const machine of machines) if (machine.configuration.rulesOff.length === 0) expectBalanced(machine);
}

afterEach(closeBooks);

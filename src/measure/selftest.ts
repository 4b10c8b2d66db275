/** The smallest machine that can take a page fault takes one. */

import { GuestMmuError } from "../errors.js";
import { Machine } from "../machine/machine.js";
import { formatDurationNs } from "../report/units.js";
import { LoadedGuest } from "../workers/index.js";

/** Lets a guest touch 16 pages of an empty region; returns what to say of it. */
export function takeOneFault(): string {
  const begin = performance.now();
  const spec = { memory: 64 * 1024 };
  const machine = Machine.create({ frames: LoadedGuest.frames(spec, 1, 1) });
  const guest = LoadedGuest.boot(machine, spec);
  const before = machine.statistics().faultsFixed;
  guest.configure(0);
  guest.touch(0);
  const faults = Number(machine.statistics().faultsFixed - before);
  const leaked = guest.unload();
  if (faults !== guest.pages || leaked !== 0) {
    throw new GuestMmuError("CORE_TRAP", {
      message: `${guest.pages} pages were touched: ${faults} faults handled, ${leaked} frames not given back.`,
      hint: "Please report it, with the output of guestmmu doctor --json.",
    });
  }
  return `${faults} handled, all frames given back, in ${formatDurationNs((performance.now() - begin) * 1e6)} with set-up`;
}

/** `guestmmu walk`. */

import { type Command } from "commander";
import type { WalkCommandOptions } from "../inspect/walk-command.js";
import { addTargetOptions, IMAGE_HELP } from "./image-options.js";

/** Adds the command; what it does is loaded when it runs. */
export function addWalk(program: Command): void {
  const command = program
    .command("walk")
    .summary("walk the page tables in an image for one access, and say why it faults")
    .description(
      "Walks the page tables in an image of physical memory for one access: each entry with its address, its flags and the\n" +
        "rights that are left, and in one sentence what the access reaches, or why it faults. Changes nothing.",
    )
    .argument("<image>", "file with the physical memory")
    .argument("<gva>", "virtual address")
    .optionsGroup("The access:")
    .option("--access <kind>", "r, w, x (instruction fetch) or rw (read-modify-write) (default: r)")
    .option("--cpl <n>", "0 to 3 (default: 3 in the lower half of the address space, 0 in the upper)")
    .option("--pkru <value>", "protection keys' rights, which no note has (default: 0)");
  addTargetOptions(command)
    .optionsGroup("Results:")
    .option("--html <file>", "write the walk as a page of its own, too")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1)")
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu walk vmcore.elf 0xffffffff81000000 --access w
  guestmmu walk vmcore.elf 0x7ffead74cd60 --cpu 1 --html walk.html
  guestmmu walk host.elf 0xffffffff81a18120 --nested

A walk that ends in a fault is a result. Exit codes: 0 done, 2 usage, or an image or root that cannot be used.`,
    )
    .action(async (image: string, gva: string, options: WalkCommandOptions) => {
      const { runWalkCommand } = await import("../inspect/walk-command.js");
      process.stdout.write(await runWalkCommand(image, gva, options));
    });
}

/** `guestmmu maps`. */

import { type Command } from "commander";
import type { MapsCommandOptions } from "../inspect/maps-command.js";
import { ExitCode } from "./exit.js";
import { addTargetOptions, IMAGE_HELP } from "./image-options.js";
import { writeStdout } from "./stdout.js";

/** Adds the command; what it does is loaded when it runs. */
export function addMaps(program: Command): void {
  const command = program
    .command("maps")
    .summary("list everything that page tables in an image map")
    .description(
      "Lists all that a page-table root in an image maps, in both halves of the address space, with pages of 4 KiB, 2 MiB\n" +
        "and 1 GiB, the rights that all levels leave (u user, r, w, x), and the flags of the leaf entry.",
    )
    .argument("<image>", "file with the physical memory")
    .optionsGroup("What is listed:")
    .option(
      "--fold <how>",
      "a row for: neighbours with equal rights (rights); with equal rights, size and flags, on consecutive pages (physical); each page (none) (default: rights)",
    )
    .option("--from <gva>", "first address (default: 0)")
    .option("--to <gva>", "last address (default: 0xffffffffffffffff)")
    .option("--max-rows <n>", "end the listing of a root after so many rows (default: 10000000)")
    .option("--all-roots", "every root that is found, one after the other");
  addTargetOptions(command)
    .optionsGroup("Results:")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1)")
    .option("--csv", "print comma-separated values with a header")
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu maps vmcore.elf --fold rights
  guestmmu maps vmcore.elf --cr3 0x2691000 --csv > maps.csv
  guestmmu maps host.elf --nested --from 0xffff800000000000

Exit codes: 0 done; 2 usage, or an image or root that cannot be used; 4 cut by --max-rows.`,
    )
    .action(async (image: string, options: MapsCommandOptions) => {
      const { runMapsCommand } = await import("../inspect/maps-command.js");
      const outcome = await runMapsCommand(image, options, writeStdout);
      if (outcome === "cut") process.exitCode = ExitCode.Inconclusive;
    });
}

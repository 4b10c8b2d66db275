/** `guestmmu info`. */

import { type Command } from "commander";
import type { InfoCommandOptions } from "../inspect/info-command.js";
import { addSearchOptions, IMAGE_HELP } from "./image-options.js";

/** Adds the command; what it does is loaded when it runs. */
export function addInfo(program: Command): void {
  const command = program
    .command("info")
    .summary("what is in an image of physical memory, and which page-table roots")
    .description(
      "Says what an image of physical memory is and holds: format, ranges, gaps, VMCOREINFO, the state of each CPU with its\n" +
        "paging mode, and the page-table roots and VMCBs that are found in it, with what speaks for each.",
    )
    .argument("<image>", "file to look at")
    .option("--efer <value>", "EFER of the CPUs, which no note has (default: long mode with NXE)")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1)");
  addSearchOptions(command)
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu info vmcore.elf
  guestmmu info memory.raw.zst --json

Exit codes: 0 done, 2 usage or an image that cannot be read.`,
    )
    .action(async (image: string, options: InfoCommandOptions) => {
      const { runInfoCommand } = await import("../inspect/info-command.js");
      process.stdout.write(await runInfoCommand(image, options));
    });
}

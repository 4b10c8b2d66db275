/** `guestmmu read`. */

import { type Command } from "commander";
import type { ReadCommandOptions } from "../inspect/read-command.js";
import { addTargetOptions, IMAGE_HELP } from "./image-options.js";
import { writeStdout } from "./stdout.js";

/** Adds the command; what it does is loaded when it runs. */
export function addRead(program: Command): void {
  const command = program
    .command("read")
    .summary("dump the bytes at a virtual address of an image")
    .description(
      "Dumps bytes at a virtual address: sixteen a line, with a line for each hole. Rights are not asked for.",
    )
    .argument("<image>", "file with the physical memory")
    .argument("<gva>", "virtual address")
    .argument("<length>", "bytes, such as 64, 0x1000 or 4k");
  addTargetOptions(command)
    .optionsGroup("Results:")
    .option("--hex", "lines of sixteen bytes (the default)")
    .option("--raw", "the bytes themselves, up to the first hole, which is an error")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1; at most 16 MiB)")
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu read vmcore.elf 0xffffffff82000000 64
  guestmmu read vmcore.elf 0x7ffead74c000 8k --cpu 0 --raw > stack.bin

Exit codes: 0 done, 2 usage, an image or root that cannot be used, or a hole with --raw.`,
    )
    .action(async (image: string, gva: string, length: string, options: ReadCommandOptions) => {
      const { runReadCommand } = await import("../inspect/read-command.js");
      await runReadCommand(image, gva, length, options, writeStdout);
    });
}

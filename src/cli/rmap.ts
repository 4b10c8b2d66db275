/** `guestmmu rmap`. */

import { type Command } from "commander";
import type { RmapCommandOptions } from "../inspect/rmap-command.js";
import { addTargetOptions, IMAGE_HELP } from "./image-options.js";
import { writeStdout } from "./stdout.js";

/** Adds the command; what it does is loaded when it runs. */
export function addRmap(program: Command): void {
  const command = program
    .command("rmap")
    .summary("who maps this frame? every virtual address of every root in an image")
    .description(
      "Lists every virtual address under which a physical address is mapped, by every root that is found in an image (or by\n" +
        "one that is named), with the rights that all levels leave.",
    )
    .argument("<image>", "file with the physical memory")
    .argument("<pa>", "physical address; host-physical with two dimensions");
  addTargetOptions(command, "all roots that a search finds")
    .optionsGroup("Results:")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1)")
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu rmap vmcore.elf 0x4856000
  guestmmu rmap vmcore.elf 0x4856000 --cr3 0x66ea000 --json

Exit codes: 0 done, 2 usage, or an image or root that cannot be used.`,
    )
    .action(async (image: string, pa: string, options: RmapCommandOptions) => {
      const { runRmapCommand } = await import("../inspect/rmap-command.js");
      await runRmapCommand(image, pa, options, writeStdout);
    });
}

/** `guestmmu diff`. */

import { type Command } from "commander";
import type { DiffCommandOptions } from "../inspect/diff-command.js";
import { ExitCode } from "./exit.js";
import { addTargetOptions, IMAGE_HELP } from "./image-options.js";
import { writeStdout } from "./stdout.js";

/** Adds the command; what it does is loaded when it runs. */
export function addDiff(program: Command): void {
  const command = program
    .command("diff")
    .summary("what mappings changed between two images")
    .description(
      "Compares what the page tables in two images map, root by root: pages that were added (+), removed (-), or are mapped\n" +
        "otherwise (~): to another frame, with other rights, with other flags, or by pages of another size.",
    )
    .argument("<image1>", "file with the earlier memory")
    .argument("<image2>", "file with the later memory")
    .optionsGroup("What counts:")
    .option("--accessed", "changes of the accessed and dirty flags, too");
  addTargetOptions(command, "all roots that a search finds; those at the same address belong together")
    .optionsGroup("Results:")
    .option("--json", "print one JSON document (schema guestmmu-inspect/1)")
    .addHelpText(
      "after",
      `${IMAGE_HELP}

Examples:
  guestmmu diff before.elf after.elf
  guestmmu diff before.elf after.elf --cr3 0x2690000 --accessed

Exit codes: 0 nothing changed, 1 something did, 2 usage, or an image or root that cannot be used.`,
    )
    .action(async (image1: string, image2: string, options: DiffCommandOptions) => {
      const { runDiffCommand } = await import("../inspect/diff-command.js");
      const outcome = await runDiffCommand(image1, image2, options, writeStdout);
      process.exitCode = outcome === "same" ? ExitCode.Done : ExitCode.Violation;
    });
}

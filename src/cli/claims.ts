/** `guestmmu claims`. */

import { type Command } from "commander";
import type { ClaimsCommandOptions } from "../verify/claims-command.js";
import { EXPLORE_EXIT_CODES } from "./exit.js";

/** Adds the command; what it does is loaded when it runs. */
export function addClaims(program: Command): void {
  program
    .command("claims")
    .summary("decide the claims of the founding thread")
    .description(
      "Decides the claims that were made in November 2019 about page references and the mmu_notifier sequence check, and\n" +
        "the mutations of that check: by exploring every interleaving of small machines in the compiled core. Prints what\n" +
        "came out beside what was expected, and an interleaving for each claim that is refuted.",
    )
    .argument("[claim...]", "only these, for example C1 C6 (default: all)")
    .option("--profile <list>", "only rows of these kernels: v5.3, v5.4, v6.13, v6.15, all")
    .option(
      "--without <rules>",
      "leave these rules out of every row besides: the table then shows what changes",
    )
    .option(
      "--max-workers <n>",
      "threads, of one exploration or of several (default: one for each processor)",
    )
    .option("--verbose", "every counterexample, with every access")
    .option("--json", "print one JSON document (schema guestmmu-explore/1)")
    .addHelpText(
      "after",
      `
Examples:
  guestmmu claims
  guestmmu claims C1 --verbose
  guestmmu claims --without PutOnRetry       which claims rest on that rule?

Exit codes: 0 all as expected, 1 a verdict other than the expected one, 2 usage, 4 a limit was reached, 130 interrupted.`,
    )
    .action(async (claims: string[], options: ClaimsCommandOptions) => {
      const { runClaimsCommand } = await import("../verify/claims-command.js");
      process.exitCode = EXPLORE_EXIT_CODES[await runClaimsCommand(claims, options)];
    });
}

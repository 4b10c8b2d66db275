/** `guestmmu rules`. */

import { type Command } from "commander";

/** Adds the command; what it does is loaded when it runs. */
export function addRules(program: Command): void {
  program
    .command("rules")
    .summary("list the protective clauses of the protocol")
    .description(
      "Lists the protective clauses of the fault/invalidate protocol: each can be left out of an explored machine, to see\n" +
        "what breaks. Zoo numbers are those of docs/zoo.md; profiles are the kernels in whose protocol the clause has a place.",
    )
    .option("--json", "print one JSON document (schema guestmmu-explore/1), with reasons and sources")
    .action(async (options: { json?: boolean }) => {
      const { rulesText } = await import("../verify/rules-command.js");
      process.stdout.write(rulesText(options));
    });
}

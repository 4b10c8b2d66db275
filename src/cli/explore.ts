/** `guestmmu explore`. */

import { type Command } from "commander";
import type { ExploreCommandOptions } from "../verify/explore-command.js";
import { EXPLORE_EXIT_CODES } from "./exit.js";

/** Adds the command; what it does is loaded when it runs. */
export function addExplore(program: Command): void {
  program
    .command("explore")
    .summary("explore every interleaving of a scenario")
    .description(
      "Explores every interleaving of the actors of a scenario, at every access to a shared word of the compiled core, and\n" +
        "says whether what must hold does. A violation is confirmed by running it in the core, shortened, and printed as a\n" +
        "table of who accessed what.",
    )
    .argument(
      "[scenario...]",
      "names, or files that export scenarios (default: all of the package, on their profiles)",
    )
    .optionsGroup("What is explored:")
    .option("--list", "list the scenarios")
    .option("--profile <list>", "protocol rules of a kernel: v5.3, v5.4, v6.13, v6.15, all (default: v6.13)")
    .option("--without <rules>", "leave these rules out: names or numbers, with commas (`guestmmu rules`)")
    .option("--build <name>", "lab: rules and checkers; release: the shipped module (default: lab)")
    .option("--every-rule", "explore what names a rule with it and without it: is each rule needed?")
    .option("--random-scenarios <n>", "explore scenarios at random, from --seed on")
    .option("--replay <token>", "run one execution again, and print it")
    .optionsGroup("How:")
    .option("--strategy <name>", "exhaustive, bounded, pct, random (default: exhaustive)")
    .option("--max-switches <n>", "strategy bounded: changes of the running actor (default: 2)")
    .option("--executions <n>", "strategies pct and random: how many (default: 100000)")
    .option("--orderings <n>", "strategy pct: orderings that a violation may need (default: 3)")
    .option("--reduce", "strategy exhaustive: leave out orders of steps that commute")
    .option("--no-match", "strategy exhaustive: go on from a state each time that it is met")
    .option("--model <name>", "memory model: sc, tso, weak (default: that of the scenario)")
    .option("--seed <n>", "start of random sequences, 0 to 4294967295 (default: 1)")
    .option("--all", "go on after the first violation, and collect one of each")
    .optionsGroup("Limits; a verdict that meets one is inconclusive:")
    .option("--max-states <n>", "states (default: 50000000, about 1 GiB)")
    .option("--max-depth <n>", "steps of one execution (default: 100000)")
    .option("--max-time <time>", "for each scenario, such as 30s (default: 10m)")
    .option(
      "--max-workers <n>",
      "threads, of one exploration or of several (default: one for each processor)",
    )
    .optionsGroup("Results:")
    .option("--verbose", "every access of a counterexample, and the bounds of every verdict")
    .option("--html <file>", "write the counterexample as a page of its own")
    .option("--trace <file>", "write the counterexample as a trace for ui.perfetto.dev")
    .option("--json", "print one JSON document (schema guestmmu-explore/1; 64-bit values as strings)")
    .addHelpText(
      "after",
      `
Examples:
  guestmmu explore
  guestmmu explore fault-vs-dontneed --without RetryUnderLock
  guestmmu explore fault-vs-dontneed --profile all --html race.html
  guestmmu explore examples/my-scenario.mjs
  guestmmu explore --every-rule

Scenarios that take minutes are explored when they are named, and not otherwise (--list says which).
A scenario that is known to be broken on a profile is expected to be violated there, and counts as found.
Ctrl-C ends it and prints what is known; a second one kills.

Exit codes: 0 held, or as expected; 1 violation; 2 usage; 4 inconclusive: a limit was reached; 130 interrupted.`,
    )
    .action(async (scenarios: string[], options: ExploreCommandOptions) => {
      const { runExploreCommand } = await import("../verify/explore-command.js");
      process.exitCode = EXPLORE_EXIT_CODES[await runExploreCommand(scenarios, options)];
    });
}

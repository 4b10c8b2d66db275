#!/usr/bin/env node
/** The command `guestmmu`. Commands are loaded when they are asked for: `--help` loads none. */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addBench } from "./bench.js";
import { addClaims } from "./claims.js";
import { addDiff } from "./diff.js";
import { addDoctor } from "./doctor.js";
import { addExplore } from "./explore.js";
import { ExitCode, reportFailure } from "./exit.js";
import { addInfo } from "./info.js";
import { addMaps } from "./maps.js";
import { addRead } from "./read.js";
import { addRmap } from "./rmap.js";
import { addRules } from "./rules.js";
import { guardStandardStreams } from "./stdout.js";
import { addWalk } from "./walk.js";

guardStandardStreams();

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("guestmmu")
  .description(
    "A guest-memory emulator: x86-64 page walks, EPT, struct pages and KVM's fault/invalidate protocol.",
  )
  .version(version, "-V, --version")
  .showHelpAfterError("(guestmmu --help lists all commands and options)")
  .exitOverride()
  .addHelpText(
    "after",
    `
Examples:
  guestmmu doctor                            can this machine run it?
  guestmmu claims                            what held, and what did not, of a discussion in November 2019
  guestmmu explore fault-vs-dontneed --without RetryUnderLock
  guestmmu bench --quick                     first figures within two seconds
  guestmmu bench                             the default matrix, about 15 s
  guestmmu bench --trace examples/ls.lackey  a real process faults its pages in
  guestmmu info vmcore.elf                   what is in this image of physical memory?
  guestmmu walk vmcore.elf 0x7ffead74cd60    where does this address lead, or why does it fault?

Exit codes: 0 done or held, 1 violation or difference found, 2 usage or unfit machine, 3 threshold missed,
            4 inconclusive, 70 internal error, 130 interrupted.
guestmmu COMMAND --help tells all about a command.`,
  );

addClaims(program);
addExplore(program);
addRules(program);
addBench(program);
addDoctor(program);
addInfo(program);
addWalk(program);
addMaps(program);
addRead(program);
addRmap(program);
addDiff(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? ExitCode.Done : ExitCode.Usage;
  else process.exitCode = reportFailure(error);
}

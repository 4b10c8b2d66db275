/** `guestmmu doctor`. */

import { type Command } from "commander";

/** Adds the command; what it does is loaded when it runs. */
export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .summary("say whether this machine can run it")
    .description(
      "Checks Node.js, shared WebAssembly memory, worker threads, processors, memory limits and the modules of the\n" +
        "core, and lets a machine take one page fault. Says what it means where something is missing.",
    )
    .option("--json", "print one JSON document (schema guestmmu-doctor/1)")
    .addHelpText("after", "\nExit codes: 0 all there (warnings aside), 2 this machine cannot run guestmmu.")
    .action(async (options: { json?: boolean }) => {
      const [{ examine }, { doctorLines }, { ExitCode }] = await Promise.all([
        import("../measure/doctor.js"),
        import("../measure/doctor-text.js"),
        import("./exit.js"),
      ]);
      const report = await examine();
      process.stdout.write(
        options.json ? `${JSON.stringify(report, null, 2)}\n` : `${doctorLines(report)}\n`,
      );
      process.exitCode = report.fit ? ExitCode.Done : ExitCode.Usage;
    });
}

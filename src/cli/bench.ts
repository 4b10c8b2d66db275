/** `guestmmu bench`. */

import { type Command } from "commander";
import type { BenchCommandOptions, BenchOutcome } from "../measure/command.js";
import { ExitCode } from "./exit.js";
import { outliveReader } from "./stdout.js";

const EXIT_CODES: Readonly<Record<BenchOutcome, ExitCode>> = {
  done: ExitCode.Done,
  violation: ExitCode.Violation,
  "threshold missed": ExitCode.Threshold,
  inconclusive: ExitCode.Inconclusive,
  interrupted: ExitCode.Interrupted,
};

/** Adds the command; what it does is loaded when it runs. */
export function addBench(program: Command): void {
  program
    .command("bench")
    .summary("measure guest page faults against invalidations")
    .description(
      "Measures guest page-fault throughput of KVM's fault/invalidate protocol with real threads: each vCPU and each " +
        "invalidator is a thread over one shared memory. Every list is combined with every other.",
    )
    .optionsGroup("What is asked:")
    .option(
      "--question <list>",
      "populate, cycle, hit, miss, trace (default: all but trace; with --trace: trace)",
    )
    .option(
      "--trace <file>",
      "drive the vCPUs with a Valgrind lackey trace (--trace-mem=yes; plain, gzip or zstd)",
    )
    .option(
      "--skip-malformed",
      "leave malformed lines of the trace out and list them, instead of stopping at the first",
    )
    .option("--vcpus <list>", "vCPU threads, 1 to 32 (default: 1,2 where there are two cores)")
    .option("--invalidate <list>", "invalidations per second by one more thread, or max (default: 0,100k)")
    .option("--span <list>", "pages in one invalidation (default: 1)")
    .optionsGroup("The machine:")
    .option("--profile <list>", "protocol rules of a kernel: v5.4, v6.13 (default: v6.13)")
    .option("--page-size <list>", "pages of the region, host and guest: 4k, 2m (default: 4k)")
    .option(
      "--memory <size>",
      "the region, for populate, cycle, miss and trace (default: 64m; larger for 2m pages)",
    )
    .option(
      "--region <list>",
      "one region for all vCPUs or one for each: shared, per-vcpu (default: per-vcpu)",
    )
    .option("--zero <list>", "the host zeroes pages it hands out: on, off (default: on)")
    .option("--retry <list>", "a fault that meets an open invalidation: wait, spin (default: wait)")
    .option("--poison", "fill freed frames with a pattern, and verify it when they are handed out again")
    .optionsGroup("The load (hit and miss):")
    .option("--workload <list>", "sequential, uniform, zipf, chase, shift (default: uniform)")
    .option("--write-mix <percent>", "stores among 100 accesses (default: 50)")
    .optionsGroup("The run:")
    .option("--duration <time>", "timed part of each row, such as 500ms or 2s (default: 800ms)")
    .option("--samples <n>", "intervals of that time, each one sample of the rate (default: 10)")
    .option("--seed <n>", "start of all random sequences, 0 to 4294967295 (default: 1)")
    .option("--quick", "a small matrix of short rows, for a first look (see below)")
    .optionsGroup("Results:")
    .option("--json", "print one JSON document (schema guestmmu-bench/1) instead of tables")
    .option("--output <file>", "write that document to FILE as well")
    .option("--compare <file>", "ratios against an earlier document, with 95 % intervals")
    .option(
      "--threshold <ratio>",
      "with --compare: exit 3 if a row is shown to be below, for example 0.9; 4 if nothing can be shown",
    )
    .addHelpText(
      "after",
      `
Questions:
  populate   first touch of every page of an empty region; then, untimed, all is dropped, and again
  cycle      a vCPU has a page dropped (madvise DONTNEED, through the mmu_notifier) and touches it again
  hit        accesses in steady state, working set inside the TLB
  miss       accesses in steady state, region far beyond the TLB
  trace      the accesses of a recorded process: each pass is a new one, whose pages fault in on demand

--quick measures the same questions and vCPUs, with --invalidate 0,10k, 6 samples in 120 ms for each row, and regions of
16 MiB (128 MiB for 2m pages). Every option that is given still counts.

Examples:
  guestmmu bench --quick
  guestmmu bench --question cycle --vcpus 1 --invalidate 0,1k,10k,100k,max --profile v5.4,v6.13
  guestmmu bench --question cycle --invalidate max --span 64 --retry wait,spin
  guestmmu bench --question populate --page-size 4k,2m --zero on,off
  guestmmu bench --trace examples/ls.lackey --vcpus 2 --invalidate 10k
  guestmmu bench --output before.json; ...; guestmmu bench --compare before.json --threshold 0.9

Ctrl-C ends the run and prints what was measured so far, marked as partial; a second one kills.
A percentile is shown where 5 samples can be expected beyond it (p99.9: 5,000), a spread from 4 samples on.
A profile is that kernel's protocol rules on one set of data structures, not that kernel's data structures.

Exit codes: 0 done, 1 a machine did what a correct one cannot, 2 usage, an unwritable file or an unfit machine,
            3 threshold missed, 4 threshold inconclusive: a row of both runs could not be compared,
            70 internal error, 130 interrupted.`,
    )
    .action(async (options: BenchCommandOptions) => {
      if (options.output !== undefined) outliveReader();
      const { runBenchCommand } = await import("../measure/command.js");
      process.exitCode = EXIT_CODES[await runBenchCommand(options, process.argv.slice(2))];
    });
}

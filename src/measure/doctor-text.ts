/** What `guestmmu doctor` found, for a terminal. */

import type { DoctorReport } from "./doctor.js";

const MARKS = { ok: "ok  ", warning: "WARN", missing: "FAIL" } as const;

/** One line a check; what it means and what to do, where it is not well. */
export function doctorLines(report: DoctorReport): string {
  const width = Math.max(...report.checks.map(({ name }) => name.length));
  const lines = report.checks.flatMap(({ status, name, found, means, todo }) => [
    `${MARKS[status]}  ${name.padEnd(width)}  ${found}`,
    ...(status === "ok"
      ? []
      : [means, todo].filter(Boolean).map((text) => `${" ".repeat(width + 8)}${text}`)),
  ]);
  return [
    ...lines,
    "",
    report.fit ? "This machine can run guestmmu." : "This machine cannot run guestmmu.",
  ].join("\n");
}

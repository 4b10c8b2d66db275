// `guestmmu doctor` as a user types it.
import { expect, test } from "vitest";
import type { DoctorReport } from "../../src/measure/doctor.js";
import { guestmmu } from "./command.js";

test("says of each thing whether it is there", async () => {
  const { code, out } = await guestmmu(["doctor"]);
  for (const name of [
    "Node.js",
    "shared memory",
    "worker threads",
    "processors",
    "memory",
    "release module",
    "one page fault",
  ]) {
    expect(out).toMatch(new RegExp(`^(ok|WARN|FAIL) +${name} `, "m"));
  }
  expect(out).toMatch(/This machine can run guestmmu\./);
  expect(code).toBe(0);
});

test("--json says the same to programs", async () => {
  const { code, out } = await guestmmu(["doctor", "--json"]);
  const report = JSON.parse(out) as DoctorReport;
  expect(report).toMatchObject({ schema: "guestmmu-doctor/1", fit: true });
  expect(report.checks.every(({ status, means }) => status === "ok" || means !== "")).toBe(true);
  expect(code).toBe(0);
});

import { test } from "vitest";
import { raceHtml } from "../../src/report/race-html.js";
import { sampleTrace } from "./report-race-sample.js";
import { raceTable } from "../../src/report/race-table.js";
import { writeFileSync } from "node:fs";
test("x", () => { writeFileSync("/tmp/rec/race.html", raceHtml(sampleTrace())); writeFileSync("/tmp/rec/table.txt", raceTable(sampleTrace())); });

/** `guestmmu rules`: the protective clauses that can be left out. */

import { PROFILES } from "../core/profiles.js";
import { RULES } from "../core/rules.js";
import { renderTable } from "../report/table.js";
import { SCENARIOS } from "../scenarios/index.js";
import { document } from "./json.js";
import { brokenWithout } from "./options.js";

/** The rules as a table, or as JSON with their reasons and sources. */
export function rulesText(options: { readonly json?: boolean }): string {
  const rules = RULES.map((row) => ({
    ...row,
    scenarios: SCENARIOS.filter((scenario) =>
      brokenWithout(scenario).some(({ rule }) => rule === row.name),
    ).map(({ name }) => name),
  }));
  if (options.json) return document("rules", { rules });
  const every = Object.keys(PROFILES).length;
  const columns = [
    { header: "no." },
    { header: "rule" },
    { header: "says", wrap: 62 },
    { header: "zoo" },
    { header: "profiles", wrap: 14 },
  ];
  const rows = rules.map(({ number, name, says, zoo, profiles }) => [
    String(number),
    name,
    says,
    zoo.join(", "),
    profiles.length === every ? "all" : profiles.join(", "),
  ]);
  return `${renderTable(columns, rows)}\n\nLeave one out: guestmmu explore SCENARIO --without RULE\n`;
}

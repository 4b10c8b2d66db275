/** The scenarios of the package. */

import { type Scenario } from "../explore/scenario.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";

/** All scenarios, the founding one first. */
export const SCENARIOS: readonly Scenario[] = [faultVsDontneed];

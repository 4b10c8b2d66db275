/** The scenarios of the package. */

import { type Scenario } from "../explore/scenario.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";
import { faultVsSlotDelete } from "./fault-vs-slot-delete.js";
import { faultsSideBySide } from "./faults-side-by-side.js";
import { flushVsGuest } from "./flush-vs-guest.js";
import { gupVsReuse } from "./gup-vs-reuse.js";
import { lookupVsSlotDelete } from "./lookup-vs-slot-delete.js";
import { prefetchVsDontneed } from "./prefetch-vs-dontneed.js";
import { readVsSlotDelete } from "./read-vs-slot-delete.js";
import { slotAddVsDontneed } from "./slot-add-vs-dontneed.js";
import { slotDeleteVsDontneed } from "./slot-delete-vs-dontneed.js";
import { twoInvalidations } from "./two-invalidations.js";
import { twoSlotsZapped } from "./two-slots-zapped.js";
import { walkerVsSlotDelete } from "./walker-vs-slot-delete.js";
import { yieldVsDontneed } from "./yield-vs-dontneed.js";
import { zapVsDirtyFlag } from "./zap-vs-dirty-flag.js";

/** All scenarios, by name. */
export const SCENARIOS: readonly Scenario[] = (
  [
    faultVsDontneed,
    faultVsSlotDelete,
    faultsSideBySide,
    flushVsGuest,
    gupVsReuse,
    lookupVsSlotDelete,
    prefetchVsDontneed,
    readVsSlotDelete,
    slotAddVsDontneed,
    slotDeleteVsDontneed,
    twoInvalidations,
    twoSlotsZapped,
    walkerVsSlotDelete,
    yieldVsDontneed,
    zapVsDirtyFlag,
  ] as readonly Scenario[]
).toSorted((a, b) => (a.name < b.name ? -1 : 1));

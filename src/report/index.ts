/**
 * guestmmu/report: a page walk in words, and as a picture. Takes what `translate` of a vCPU or `walk` of a walker
 * returned; needs neither Node nor a browser.
 */

export { accumulatedRights, shortRights, type Rights } from "./walk-rights.js";
export { walkPage, type WalkPageOptions } from "./walk-page.js";
export { explainWalk } from "./walk-words.js";
export {
  type NestedRoot,
  type WalkAccess,
  type WalkContext,
  type WalkContextRegisters,
} from "./walk-model.js";

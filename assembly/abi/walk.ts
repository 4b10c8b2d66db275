// Walks in windows: tables anywhere in physical memory, page by page as the host brings them (`windowPut` in the group
// cpu). The TLB has no part in it, nothing is written, and nobody is waited for.

import { Map } from "../layout/map";
import { Fold, ScanResult } from "../layout/scan";
import { Access, Outcome, WALK_ERROR, WALK_PA } from "../layout/walk";
import { isAbsent, markAbsent } from "../x86/memory";
import { Translation } from "../x86/rights";
import { continueScan, startScan } from "../x86/scan";
import { Tables, denyQuiet, translateTables } from "../x86/tables";
import { lookUpWindows, translateWindows } from "../x86/translate";
import { BATCH_FAILED } from "./cpu";

/** No access but a lookup: `translateTablesBatch` then asks for no right, as a debugger does. */
export const ACCESS_ANY: u32 = 0xff;

/** Says that there is no page for physical address `pa`, until `windowClear`: what needs it ends instead of asking again. */
export function windowAbsent(pa: u64): void {
  markAbsent(pa);
}

/**
 * Translates the linear addresses (u64) `first` to `count` - 1 of the vCPU's batch buffer by tables in windows; results as
 * of `translateBatch`. `access` is an `Access`, or ACCESS_ANY. Returns in bits 31:0 the index of the first that is not
 * done: below `count`, put `Walk.pa` in a window, or say `windowAbsent`, and go on from there. Bits 63:32: how many
 * have been translated.
 */
export function translateTablesBatch(vcpu: u32, first: u32, count: u32, access: u32): u64 {
  const actor = Map.actor(vcpu);
  const batch = Map.batch(actor);
  const any = access == ACCESS_ANY;
  const kind: Access = any ? Access.Read : access;
  const deny = any ? 0 : denyQuiet(actor, kind);
  // Which X counts depends on the guest's page, with mode-based execute control: not for rows to know.
  const byRows = any || !Tables.modeBased(actor);
  let translated: u64 = 0;
  let i = first;
  for (; i < count && (i + 1) << 3 <= Map.batchSize; i++) {
    const at = batch + ((<usize>i) << 3);
    const gva = load<u64>(at);
    const t = byRows ? translateTables(actor, gva) : 0;
    if (t != 0 && !Translation.denies(t, deny)) {
      store<u64>(at, Translation.page(t) | (gva & 0xfff));
      translated++;
      continue;
    }
    const outcome = any ? lookUpWindows(actor, gva) : translateWindows(actor, gva, kind, false);
    const pa = load<u64>(actor + WALK_PA);
    if (outcome == Outcome.Missing && !isAbsent(pa)) break;
    if (outcome == Outcome.Ok) translated++;
    const failed = BATCH_FAILED | (<u64>outcome) | (load<u64>(actor + WALK_ERROR) << 16);
    store<u64>(at, outcome == Outcome.Ok ? pa : failed);
  }
  return (translated << 32) | i;
}

/**
 * Begins a scan of what the vCPU's root maps from `from` to `last`, both included; `fold` is a `Fold`. Its state is the
 * beginning of the vCPU's batch buffer (layout/scan.ts), which has to stay as it is until the scan ends.
 */
export function scanStart(vcpu: u32, from: u64, last: u64, fold: Fold): void {
  startScan(Map.actor(vcpu), from, last, fold);
}

/**
 * Goes on with the scan: writes at most `rowMax` rows. `Missing`: the pages of WANTED are to be put in windows, or said
 * to be absent, the first of them last.
 */
export function scanNext(vcpu: u32, rowMax: u32): ScanResult {
  return continueScan(Map.actor(vcpu), rowMax);
}

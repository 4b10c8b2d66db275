// Machine: making one, attaching to one.

import { createHost } from "../host/mm";
import { createKvm } from "../kvm/kvm";
import { AttachResult, attachRegions, checkHeader, planRegions, sealHeader } from "../layout/map";
import { attachProfile } from "../profile";
import { attachRules } from "../rules";

/** Computes the region bases from the configuration in the header; returns the bytes needed, 0 if too many. */
export function plan(): u32 {
  return planRegions();
}

/** Makes the machine that the header describes, in memory that is zero beyond the header. */
export function create(): void {
  attachAll();
  createHost();
  createKvm();
  sealHeader();
}

/** Binds this instance to the machine in its memory. To be called once, before any other export. */
export function attach(): AttachResult {
  const result = checkHeader();
  if (result == AttachResult.Ok) attachAll();
  return result;
}

function attachAll(): void {
  attachRegions();
  attachRules();
  attachProfile();
}

// Entry of the constants module: everything that TypeScript has to know, exported as globals and read from there by
// scripts/generate-constants.mjs. Nothing is written twice.
export * from "./layout/header";
export * from "./layout/actor";
export * from "./layout/control";
export * from "./layout/kvm";
export * from "./layout/mm";
export * from "./layout/page";
export * from "./layout/slot";
export * from "./layout/pool";
export * from "./layout/stats";
export * from "./layout/walk";
export * from "./layout/histogram";
export * from "./layout/tlb";
export * from "./layout/window";
export * from "./layout/offsets";
export { AttachResult, MACHINE_SIZE_MAX, PAGE_SHIFT, PAGE_SIZE } from "./layout/map";
export { Rule, RULE_COUNT } from "./rules";
export { Profile, PROFILE_COUNT, Switch } from "./profile";
export { Trap } from "./trap";
export { Order, Barrier } from "./sync/ops";

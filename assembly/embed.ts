// Entry of the embed module: the whole ABI for one thread, on a memory that is not shared.
export * from "./index";

/** Tells a host, before it makes a memory, that the module imports one that is not shared. */
export const UNSHARED_MEMORY: i32 = 1;

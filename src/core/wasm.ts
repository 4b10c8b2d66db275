/**
 * The two WebAssembly types that the API shows, for programs that compile without the DOM's declarations: @types/node
 * has declared none before version 24. Where the program knows `WebAssembly.Memory` and `WebAssembly.Module`, these are
 * just those; elsewhere they are what an embedder needs of them.
 */

interface SharedMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  grow(delta: number): number;
}

/** Opaque: to be passed on. No other type is one by chance. */
interface CompiledModule {
  readonly webAssemblyModule?: never;
}

/** Instances of a class of the global `WebAssembly`, or `Otherwise` where the program has no declaration of it. */
type Instance<Name extends string, Otherwise> = typeof globalThis extends {
  WebAssembly: Record<Name, { prototype: infer Declared }>;
}
  ? Declared
  : Otherwise;

/** `WebAssembly.Memory`. */
export type WasmMemory = Instance<"Memory", SharedMemory>;
/** `WebAssembly.Module`. */
export type WasmModule = Instance<"Module", CompiledModule>;

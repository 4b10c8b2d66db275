/**
 * guestmmu/inline: the walker with its module inside of JavaScript. For single files, for places that can fetch nothing, and
 * for bundlers that leave .wasm files behind.
 *
 * ```ts
 * import { PageWalker, inlineModule } from "guestmmu/inline";
 * const walker = PageWalker.create(memory, { cr3 }, { module: inlineModule() });
 * ```
 */

import { type WasmModule } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { EMBED_BASE64 } from "./base64.js";

export * from "../walker/index.js";

/** The bytes of the embed module. */
export function inlineBytes(): Uint8Array<ArrayBuffer> {
  if (EMBED_BASE64 === "") {
    throw new GuestMmuError("MODULE_MISMATCH", {
      message: "The sources of guestmmu have no module inside: only the built package has.",
      hint: "Run `npm run build`, and import from dist/.",
    });
  }
  const text = atob(EMBED_BASE64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

let compiled: WasmModule | null = null;

/** The embed module, compiled once, at once. Browsers may refuse that on the main thread for being long: see `openInlineModule`. */
export function inlineModule(): WasmModule {
  return (compiled ??= new WebAssembly.Module(inlineBytes()));
}

/** The embed module, compiled in the background. */
export async function openInlineModule(): Promise<WasmModule> {
  return (compiled ??= await WebAssembly.compile(inlineBytes()));
}

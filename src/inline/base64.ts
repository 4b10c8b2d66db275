/**
 * The embed module in base64. Empty in the sources: `npm run build:host` puts build/embed.wasm into dist/inline/base64.js, so
 * that no commit carries the binary.
 */
export const EMBED_BASE64: string = "";

// One linter for the host and the core. Besides the usual rules it holds up the layers (docs/architecture.md).
import js from "@eslint/js";
import tseslint from "typescript-eslint";

/** Files under `from` may not import what matches `patterns`. */
const layer = (from, patterns, message) => ({
  files: [from],
  rules: { "no-restricted-imports": ["error", { patterns: [{ regex: patterns, message }] }] },
});

const IMAGES_LAYER =
  "\\.\\./(core|machine|workers|measure|report|cli|trace|explore|invariants|scenarios|verify|walker|inspect)/" +
  "|piscina|commander";

export default tseslint.config(
  { ignores: ["build/", "dist/", "node_modules/", "**/*.generated.ts"] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      eqeqeq: ["error", "always"],
    },
  },
  {
    files: ["scripts/**", "bench/**", "examples/**", "test/**/*.mjs"],
    languageOptions: {
      globals: Object.fromEntries(
        [
          "process",
          "console",
          "URL",
          "WebAssembly",
          "performance",
          "setTimeout",
          "clearTimeout",
          "setImmediate",
          "Buffer",
          "TextDecoder",
          "TextEncoder",
          "SharedArrayBuffer",
          "Atomics",
          "AbortController",
          "BigUint64Array",
        ].map((name) => [name, "readonly"]),
      ),
    },
  },
  {
    files: ["examples/walker-page/**"],
    languageOptions: { globals: { document: "readonly", FormData: "readonly" } },
  },
  {
    files: ["assembly/**/*.ts", "test/assembly/*.ts"],
    rules: {
      // AssemblyScript: == is the only equality of numbers, types are wasm's, and unmanaged classes are layouts.
      eqeqeq: "off",
      "no-undef": "off",
      // A variable has a value from the start: the type has no "not yet".
      "no-useless-assignment": "off",
      "no-empty-function": "off",
      // Literals are 64-bit integers here, not doubles.
      "no-loss-of-precision": "off",
      "no-constant-condition": ["error", { checkLoops: "none" }],
      "@typescript-eslint/no-extraneous-class": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "prefer-const": "error",
    },
  },
  {
    files: ["assembly/{x86,host,kvm,guest,drive,abi}/**/*.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "MemberExpression[object.name='atomic']",
          message: "Words that others write are accessed through sync/ops, which knows their ordering.",
        },
      ],
    },
  },
  layer("assembly/layout/**", "\\.\\./(sync|x86|host|kvm|guest|drive|abi)/", "layout knows nobody"),
  layer("assembly/sync/**", "\\.\\./(x86|host|kvm|guest|drive|abi)/", "sync knows only layout"),
  layer("assembly/x86/**", "\\.\\./(host|kvm|guest|drive|abi)/", "x86 knows only layout and sync"),
  layer(
    "assembly/host/**",
    "\\.\\./(kvm|guest|drive|abi)/",
    "the host does not know KVM: it goes through dispatch",
  ),
  layer("assembly/kvm/**", "\\.\\./(guest|drive|abi)/", "KVM does not know its guests"),
  layer("assembly/guest/**", "\\.\\./(host|drive|abi)/", "a guest kernel knows its vCPU, not the host"),
  layer(
    "src/walker/**",
    "\\.\\./(workers|measure|report|cli|trace|explore|invariants|scenarios|verify|inline)/|images/(?!types\\.js)|piscina|commander",
    "the walker is for any embedder: it knows memory by pages, not files",
  ),
  layer(
    "src/inline/**",
    "\\.\\./(workers|measure|report|cli|trace|explore|invariants|scenarios|verify|images)/|piscina|commander",
    "the inlined walker is the walker",
  ),
  layer(
    "src/core/**",
    "\\.\\./(machine|walker|workers|measure|report|cli|trace|explore|invariants|scenarios|verify)/",
    "core knows only the module",
  ),
  layer(
    "src/machine/**",
    "\\.\\./(workers|measure|report|cli|trace|explore|invariants|scenarios|verify)/|piscina|commander",
    "machine is for any embedder",
  ),
  layer(
    "src/workers/**",
    "\\.\\./(measure|report|cli|trace|explore|invariants|scenarios|verify)/|commander",
    "workers know the machine",
  ),
  layer(
    "src/invariants/**",
    "\\.\\./(machine|workers|measure|report|cli|trace|scenarios|verify)/|explore/(?!trace\\.js)|piscina|commander",
    "checkers know events and the layout of a machine, nothing of who explores it",
  ),
  layer(
    "src/explore/**",
    "\\.\\./(workers|measure|report|cli|trace|scenarios|verify)/|piscina|commander",
    "explore knows the machine and the checkers, not the scenarios, and starts no thread",
  ),
  layer(
    "src/scenarios/**",
    "\\.\\./(workers|measure|report|cli|trace|invariants|verify)/|piscina|commander",
    "scenarios are written with what a user has as well",
  ),
  layer(
    "src/report/**",
    "\\.\\./(workers|measure|cli|trace|invariants|scenarios|verify)/|piscina|commander" +
      "|explore/(?!(trace|words|names)\\.js)|core/(?!layout\\.generated\\.js)" +
      "|machine/(?!(access-result|address|arguments|nested|translation)\\.js)",
    "report renders and computes what it is given: it knows errors, bits, walks, and the words for an execution",
  ),
  layer(
    "src/trace/**",
    "\\.\\./(core|machine|workers|measure|report|cli|explore|invariants|scenarios|verify)/|piscina|commander",
    "trace reads files: it knows only errors",
  ),
  layer(
    "src/images/**",
    IMAGES_LAYER + "|^node:",
    "images reads bytes, in browsers too: it knows only errors, and files in open.ts",
  ),
  layer("src/images/{open,file,unpack}.ts", IMAGES_LAYER, "images reads files: it knows only errors"),
  layer(
    "src/measure/**",
    "\\.\\./(cli|explore|invariants|scenarios|verify)/|commander",
    "measure knows no command line",
  ),
  layer(
    "src/inspect/**",
    "\\.\\./(cli|workers|measure|trace|explore|invariants|scenarios|verify)/|piscina|commander",
    "inspect knows images, the walker and reports, and no command line",
  ),
  layer("src/verify/**", "\\.\\./(cli|measure|workers|trace)/|commander", "verify knows no command line"),
  layer(
    "src/index.ts",
    "\\./(workers|measure|report|cli|trace|explore|invariants|scenarios|verify)/|piscina|commander",
    "the library entry is for any embedder",
  ),
);

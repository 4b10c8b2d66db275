// Native programs of bench/native: compiled on first use, kept by the hash of what they are made of, run as processes that
// answer one line for each line they are given, so that they take turns with the core.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync, existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { layoutHeader } from "./layout.mjs";

const SOURCES = fileURLToPath(new URL("native/", import.meta.url));
const CACHE = `${SOURCES}.build/`;
const COMPILER = process.env.CC ?? "gcc";
const FLAGS = ["-std=gnu11", "-O3", "-march=native", "-pthread", "-Wall", "-Wextra"];

/** First line of `cc --version`, or null where there is no compiler. */
export function compilerVersion() {
  const { status, stdout } = spawnSync(COMPILER, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n")[0] : null;
}

export const compilerFlags = FLAGS.join(" ");

/** Compiles `native/<name>.c` unless that was done before; returns the path of the program. Throws what the compiler says. */
export function compile(name, layout) {
  const header = layoutHeader(layout);
  const hash = createHash("sha256")
    .update(FLAGS.join())
    .update(header)
    .update(compilerVersion() ?? "");
  for (const file of readdirSync(SOURCES).sort()) {
    if (/\.[ch]$/.test(file)) hash.update(file).update(readFileSync(SOURCES + file));
  }
  const directory = `${CACHE}${hash.digest("hex").slice(0, 16)}/`;
  const program = `${directory}${name}`;
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}layout.h`, header);
  const partial = `${program}.${process.pid}`;
  const { status, stderr } = spawnSync(
    COMPILER,
    [...FLAGS, `-I${directory}`, "-o", partial, `${SOURCES}${name}.c`],
    {
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(`${COMPILER} cannot compile bench/native/${name}.c:\n${stderr}`);
  renameSync(partial, program);
  return program;
}

/** A running program that answers lines. */
export class Native {
  #process;
  #waiting = [];
  #errors = "";
  #ended = null;

  constructor(program) {
    this.#process = spawn(program, { stdio: ["pipe", "pipe", "pipe"] });
    this.#process.stderr.on("data", (chunk) => (this.#errors += chunk));
    createInterface({ input: this.#process.stdout }).on("line", (line) =>
      this.#waiting.shift()?.resolve(line),
    );
    this.#process.on("exit", (code, signal) => {
      this.#ended = new Error(`${program} ended (${signal ?? code}): ${this.#errors.trim() || "no message"}`);
      for (const { reject } of this.#waiting) reject(this.#ended);
    });
    this.#process.stdin.on("error", () => {}); // its end is reported by "exit"
  }

  /** Sends a command; resolves to its answer, split at blanks. */
  ask(...words) {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.push({ resolve: (line) => resolve(line.split(" ")), reject });
      this.#process.stdin.write(`${words.join(" ")}\n`);
    });
  }

  close() {
    this.#process.removeAllListeners("exit");
    this.#process.stdin.end();
  }
}

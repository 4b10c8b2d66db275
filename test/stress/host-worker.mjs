// One thread of the host stress test: a getter that uses pages while it holds them, or a zapper that takes them away.
import { parentPort, workerData } from "node:worker_threads";

const { module, memory, abort, role, actor, hva, pages, shift, milliseconds, seed } = workerData;
const imports = { order: () => undefined, choose: () => 0, note: () => undefined };
const core = new WebAssembly.Instance(module, { env: { memory, ...imports } }).exports;
const PAGE = 4096n;
const counts = { operations: 0, failed: 0 };
const errors = [];

let state = seed | 1;
function random(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

/** Each getter owns one word of every page; what it finds there is what it wrote, or 0 after the page was replaced. */
function getter() {
  const words = new BigUint64Array(memory.buffer);
  const last = new BigUint64Array(pages);
  let token = BigInt(actor + 1) << 48n;
  while (performance.now() < end && errors.length === 0) {
    for (let i = 0; i < 200; i++) {
      const page = random(pages);
      const at = hva + BigInt(page) * PAGE;
      const fast = core.hostGupFast(actor, at, 1) >>> 0;
      const result = fast ? BigInt(fast) : BigInt.asUintN(64, core.hostGup(actor, at, 1));
      counts.operations++;
      if ((result >> 32n) & 0xffn) {
        counts.failed++; // unmapped, read-only or out of frames: what the page holds is unchanged, or 0
        continue;
      }
      const pfn = Number(result & 0xffffffffn);
      const word = (core.hostFrame(pfn) >>> 3) + actor;
      const epoch = core.hostEpoch(pfn);
      const found = words[word];
      // 0 as well if the page was zapped and faulted in again by somebody else.
      if (found !== 0n && found !== last[page]) errors.push(`page ${page}: found 0x${found.toString(16)}`);
      words[word] = ++token;
      if (words[word] !== token) errors.push(`page ${page}: changed while it was held`);
      if (core.hostEpoch(pfn) !== epoch) errors.push(`page ${page}: freed while it was held`);
      last[page] = token;
      core.hostPutPage(actor, pfn);
    }
  }
}

function zapper() {
  while (performance.now() < end) {
    const first = random(pages);
    const count = 1 + random(Math.min(pages - first, random(4) ? 8 : 700));
    const at = hva + BigInt(first) * PAGE;
    const length = BigInt(count) * PAGE;
    counts.operations++;
    switch (random(8)) {
      case 0:
        core.hostMunmap(actor, at, length);
        core.hostMmap(actor, at, length, 3, 12);
        break;
      case 1:
        core.hostMprotect(actor, at, length, 1);
        core.hostMprotect(actor, at, length, 3);
        break;
      case 2:
        core.hostMunmap(actor, hva, BigInt(pages) * PAGE);
        core.hostMmap(actor, hva, BigInt(pages) * PAGE, 3, shift);
        break;
      default:
        core.hostDontneed(actor, at, length);
    }
  }
}

core.attach();
const end = performance.now() + milliseconds;
try {
  if (role === "getter") getter();
  else zapper();
} catch (error) {
  // A lock that this thread held stays held: let the others' waits end.
  errors.push(String(error));
  Atomics.store(new Int32Array(memory.buffer), abort >> 2, 1);
}
parentPort.postMessage({ counts, errors });

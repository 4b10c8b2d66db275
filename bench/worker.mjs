// A thread of a question: one actor of one machine, or of none yet. It waits for all to be there, runs, says when.
import { workerData, parentPort } from "node:worker_threads";
import { Core } from "../dist/core/core.js";

const { gate } = workerData;
const machines = new Map();
const [READY, GO, STOP] = [0, 1, 2];
const now = () => Number(process.hrtime.bigint());

/** The machine's calls, on this thread's own instance. */
function callsOf({ id, module, memory }) {
  if (!machines.has(id)) {
    const { calls } = Core.on(module, memory);
    calls.attach();
    machines.set(id, calls);
  }
  return machines.get(id);
}

const slices = {
  populate: (calls, actor, count) => calls.drivePopulate(actor, count),
  cycle: (calls, actor, count) => calls.driveCycle(actor, count),
  run: (calls, actor, count) => calls.driveRun(actor, count),
};

/** A fixed number of steps. */
function steps(calls, { activity, actor, count }) {
  const done = slices[activity](calls, actor, count);
  if (done !== count)
    throw new Error(`${activity} came back after ${done} of ${count}: status ${calls.driveStatus(actor)}`);
  return done;
}

/** Slices until the gate says stop. */
function untilStopped(calls, { activity, actor, slice }) {
  let done = 0;
  while (Atomics.load(gate, STOP) === 0) done += slices[activity](calls, actor, slice);
  return done;
}

/** Invalidations at a rate, or flat out (rate 0), until the gate says stop. */
function invalidate(calls, { actor, rate }) {
  const idle = new Int32Array(new SharedArrayBuffer(4));
  const begin = now();
  let done = 0;
  while (Atomics.load(gate, STOP) === 0) {
    const due = rate === 0 ? done + 64 : Math.floor(((now() - begin) * rate) / 1e9);
    if (due > done) done += calls.driveInvalidate(actor, Math.min(due - done, 64));
    else Atomics.wait(idle, 0, 0, 0.02);
  }
  return done;
}

const kinds = { steps, untilStopped, invalidate };

parentPort.on("message", (job) => {
  try {
    const calls = callsOf(job.machine);
    Atomics.add(gate, READY, 1);
    while (Atomics.load(gate, GO) === 0);
    const begin = now();
    const done = kinds[job.kind](calls, job);
    parentPort.postMessage({ begin, end: now(), done });
  } catch (error) {
    parentPort.postMessage({ error: String(error.stack ?? error) });
  }
});

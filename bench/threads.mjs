// Real threads for a question: plain workers, started once, that begin a job together.
import { Worker } from "node:worker_threads";

const [READY, GO, STOP] = [0, 1, 2];

export class Threads {
  #gate = new Int32Array(new SharedArrayBuffer(12));
  #workers;

  constructor(count) {
    this.#workers = Array.from({ length: count }, () => {
      const worker = new Worker(new URL("worker.mjs", import.meta.url), { workerData: { gate: this.#gate } });
      worker.unref();
      return worker;
    });
  }

  /**
   * Runs one job a thread; all begin together. With `duration_ms` they are told to stop then.
   * @returns {Promise<{wall_ns: number, done: number[], each_ns: number[], processors: number}>} from the first begin to
   *   the last end; `processors`: time of processors that the threads had of that. Two threads that had little more than
   *   one shared it with somebody else: their figures say nothing.
   */
  async run(jobs, duration_ms) {
    this.#gate.fill(0);
    const answers = jobs.map(
      (job, i) =>
        new Promise((resolve, reject) => {
          this.#workers[i].once("message", (answer) =>
            answer.error ? reject(new Error(answer.error)) : resolve(answer),
          );
          this.#workers[i].postMessage(job);
        }),
    );
    const all = Promise.all(answers);
    while (Atomics.load(this.#gate, READY) < jobs.length) {
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 1))]);
    }
    const before = process.cpuUsage();
    Atomics.store(this.#gate, GO, 1);
    if (duration_ms) {
      await new Promise((resolve) => setTimeout(resolve, duration_ms));
      Atomics.store(this.#gate, STOP, 1);
    }
    const ended = await all;
    const { user, system } = process.cpuUsage(before);
    const begin = Math.min(...ended.map((a) => a.begin));
    const end = Math.max(...ended.map((a) => a.end));
    return {
      wall_ns: end - begin,
      done: ended.map((a) => a.done),
      each_ns: ended.map((a) => a.end - a.begin),
      processors: ((user + system) * 1000) / (end - begin),
    };
  }

  close() {
    return Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

// Two vCPUs discard pages and fault them in again, in threads of their own, while a third thread invalidates.
//
//   npm run build && node examples/workers.mjs
import { Machine } from "guestmmu";
import { LoadedGuest, VcpuPool } from "guestmmu/worker";

const vcpus = 2;
const spec = { memory: 16 * 2 ** 20 };
const machine = Machine.create({ frames: LoadedGuest.frames(spec, vcpus, 2), vcpus, hostThreads: 2 });

// A guest with a region of 16 MiB, half of it for each vCPU; host thread 1 invalidates 8 pages at a time, anywhere.
const guest = LoadedGuest.boot(machine, spec);
for (let vcpu = 0; vcpu < vcpus; vcpu++) {
  guest.configure(vcpu, { first: (guest.pages / vcpus) * vcpu, pages: guest.pages / vcpus, seed: 1 });
  guest.touch(vcpu);
}
guest.configureInvalidator(1, { span: 8, seed: 1 });

const pool = new VcpuPool({ threads: vcpus + 1 });
const run = pool.start(
  machine,
  [
    { kind: "cycle", vcpu: 0 },
    { kind: "cycle", vcpu: 1 },
    { kind: "invalidate", host: 1, perSecond: 10_000 },
  ],
  { durationMs: 500, samples: 5 },
);

const { actors } = await run.finished;
for (const { name, operations, wallMs } of actors) {
  console.log(
    `${name}: ${Math.round(operations / (wallMs / 1000))} ${name.startsWith("vCPU") ? "cycles" : "invalidations"}/s`,
  );
}
await pool.close();
console.log(`frames not given back: ${guest.unload()}`);

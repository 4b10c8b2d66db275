import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HostMachine, PAGE, HUGE, Rule, Trap } from "../host-machine.js";
import { KvmMachine, Outcome } from "../kvm-machine.js";

test("T1 splitLeaf raises the counts after it has published the table", () => {
  let armed = false;
  let fired = "";
  const m = new HostMachine({
    build: "lab",
    hosts: 3,
    frames: 2048,
    onAccess: () => {
      if (!armed) return;
      if ((other["hostMappingShiftOf"]!(2, hva) as number) !== 12) return;
      if ((other["hostRefcount"]!(head) as number) !== 1) return;
      armed = false;
      other["hostDontneed"]!(2, hva + 100n * PAGE, PAGE);
      fired = `refcount ${other["hostRefcount"]!(head)} mapcount ${other["hostMapcount"]!(head)} epoch ${other["hostEpoch"]!(head)} pte ${(other["hostPte"]!(2, hva + 5n * PAGE) as bigint).toString(16)}`;
    },
  });
  const other = m.another();
  const hva = m.map(HUGE, { shift: 21 });
  m.touch(hva, HUGE);
  const head = m.pfnOf(hva);
  armed = true;
  let trap = "";
  try {
    m.dontneed(hva, PAGE, 1);
  } catch (e) {
    trap = `${e} trap ${m.trap}`;
  }
  armed = false;
  console.log("T1", fired, trap, "imbalance", trap ? "-" : m.imbalance, "trapcode", m.trap);
});

test("T1b two pages", () => {
  let armed = false;
  const m = new HostMachine({
    build: "lab",
    hosts: 3,
    frames: 2048,
    onAccess: () => {
      if (!armed) return;
      if ((other["hostMappingShiftOf"]!(2, hva) as number) !== 12) return;
      if ((other["hostRefcount"]!(head) as number) !== 1) return;
      armed = false;
      other["hostDontneed"]!(2, hva + 100n * PAGE, 2n * PAGE);
    },
  });
  const other = m.another();
  const hva = m.map(HUGE, { shift: 21 });
  m.touch(hva, HUGE);
  const head = m.pfnOf(hva);
  armed = true;
  let trap = "";
  try {
    m.dontneed(hva, PAGE, 1);
  } catch (e) {
    trap = `${e}`;
  }
  console.log("T1b", trap, "trapcode", m.trap, Trap.MapcountUnderflow);
});

test("T2 translate after unload uses the old root and TLB", () => {
  const m = new KvmMachine({ build: "release" });
  const hva = m.backed(4n);
  m.guestStore(0n, 7n);
  const pfn = m.pfnOf(hva);
  m.quiesce();
  m.dontneed(hva, PAGE, m.host);
  const batch = m.view.getUint32(layout.HEADER_OFFSET_BATCH_BASE ?? 0, true);
  const n = m.u32("tlbProbe", 0, 0n, layout.Access.Write);
  console.log(
    "T2 pfn",
    pfn,
    "refcount",
    m.refcount(pfn),
    "probe",
    n,
    "frame",
    m.u32("hostFrame", pfn),
    "root",
    m.u32("kvmVcpuRoot", 0),
    "eptp",
    m.u64("registerRead", 0, layout.Register.Eptp).toString(16),
    batch,
  );
  // reuse the freed root frame
  const rootPfn = Number(m.u64("registerRead", 0, layout.Register.Eptp) >> 12n);
  const got: number[] = [];
  for (let i = 0; i < 40; i++) {
    const p = m.u32("hostAllocPage", m.host);
    got.push(p);
    if (p === rootPfn) break;
    const q = m.u32("hostAllocPage", 0);
    got.push(q);
    if (q === rootPfn) break;
  }
  const reused = got.includes(rootPfn);
  const frame = m.u32("hostFrame", rootPfn);
  m.view.setBigUint64(frame, (BigInt(got[0]!) << 12n) | 7n, true); // somebody's data that looks like an entry
  const outcome = m.u32("translate", 0, PAGE, layout.Access.Write, 1);
  console.log(
    "T2 reused",
    reused,
    "outcome",
    outcome,
    "word now",
    m.view.getBigUint64(frame, true).toString(16),
  );
});

test("T3/T9 resume against an entry", () => {
  const seen = new Set<string>();
  for (let n = 0; n < 60; n++) {
    let left = Infinity;
    let hit = false;
    const m = new KvmMachine({
      build: "lab",
      onAccess: () => {
        if (left-- === 0) {
          hit = true;
          other["vcpuResume"]!(0);
        }
      },
    });
    const other = m.another();
    m.backed(4n);
    m.guestStore(0n, 1n);
    m.raw["vcpuInterrupt"]!(0);
    left = n;
    const first = m.guestLoad(0n).outcome;
    left = Infinity;
    if (!hit) break;
    const second = m.guestLoad(0n).outcome;
    if (first !== Outcome.Interrupted && first !== Outcome.Ok)
      seen.add(`access ${n}: first outcome ${Outcome[first]}`);
    if (second !== Outcome.Ok) seen.add(`access ${n}: resumed, yet the next run is ${Outcome[second]}`);
  }
  console.log("T3", [...seen]);
});

test("T4 a fault sleeps through unrelated invalidations", () => {
  let rounds = 0;
  let open = 0;
  let inside = false;
  let waiting = false;
  let atEnd = -1;
  const m = new KvmMachine({
    build: "lab",
    hosts: 2,
    onAccess: () => {
      if (inside || !waiting) return;
      if (m.stat(0, layout.Stat.RetryWaits) === 0) return;
      inside = true;
      if (rounds < 1500) {
        other["labInvalidateEnd"]!(
          m.host,
          open === 0 ? hva : hva + 8n * PAGE,
          open === 0 ? hva + PAGE : hva + 9n * PAGE,
        );
        other["labInvalidateStart"]!(m.host, hva + 8n * PAGE, hva + 9n * PAGE);
        open = 1;
        rounds++;
      } else if (open === 1) {
        other["labInvalidateEnd"]!(m.host, hva + 8n * PAGE, hva + 9n * PAGE);
        open = 2;
        atEnd = m.u32("kvmInvalidateSeq");
      }
      inside = false;
    },
  });
  const other = m.another();
  const hva = m.backed(16n);
  m.guestStore(0n, 1n);
  other["labInvalidateStart"]!(m.host, hva, hva + PAGE);
  waiting = true;
  const outcome = m.guestStore(0n, 2n);
  waiting = false;
  console.log(
    "T4 outcome",
    outcome,
    "rounds",
    rounds,
    "seq at wake",
    atEnd,
    "faults",
    m.stat(0, layout.Stat.Faults),
  );
});

test("T5 HostPteClearedBeforeEnd has no effect", () => {
  const run = (without: number[]) => {
    const m = new KvmMachine({ build: "lab", without });
    const hva = m.backed(4n);
    m.guestStore(0n, 1n);
    let atEnd: bigint | undefined;
    const raw = new WebAssembly.Instance(m.module, {
      env: {
        memory: m.memory,
        order: () => undefined,
        choose: () => 0,
        note: (kind: number) => {
          if ((kind & 0xff) === layout.Note.NotifyEnd) atEnd = m.pte(hva);
        },
      },
    }).exports as any;
    raw.attach();
    raw.hostDontneed(m.host, hva, PAGE);
    return atEnd;
  };
  console.log("T5 PTE at end, rule on / off:", run([]), run([Rule.HostPteClearedBeforeEnd]));
});

test("T8 the epoch is 0 for a moment", () => {
  let zero = 0;
  const m = new HostMachine({
    build: "lab",
    onAccess: () => {
      if (armed && m.word(layout.KVM_RCU_EPOCH) === 0) zero++;
    },
  });
  let armed = false;
  const hva = m.map(PAGE);
  m.touch(hva, PAGE);
  m.view.setUint32(layout.KVM_RCU_EPOCH, 0xffffffff, true);
  armed = true;
  m.unmap(hva, PAGE);
  armed = false;
  console.log("T8 looks at an epoch of 0:", zero);
});

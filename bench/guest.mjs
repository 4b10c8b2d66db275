// A machine with a guest that has booted, whose tables map a region of which no page has been touched.
import * as L from "../dist/core/layout.generated.js";
import { Machine } from "./machine.mjs";

const REGION = 0x5555_4000_0000n;
const HVA = 0x7000_0000_0000n;
const MIB = 1n << 20n;

/**
 * @param {object} shape
 * @param {number} shape.pages of the region; each vCPU has an equal part of it
 * @param {number} [shape.vcpus]
 * @param {number} [shape.hosts] host threads; actor index `vcpus` is the first
 * @param {number} [shape.options] `MachineOption` bits beside the usual ones
 * @param {bigint} seed
 */
export async function guestMachine({ pages, vcpus = 1, hosts = 1, options = 0, tlbEntries = 1024 }, seed) {
  const machine = await Machine.create({
    frames: pages + (pages >> 6) + 4096,
    vcpus,
    hosts,
    tlbEntries,
    options: L.MachineOption.EptAccessedDirty | L.MachineOption.Page1GB | options,
  });
  const { calls } = machine;
  const host = vcpus;
  const ram = BigInt(pages) * 4096n * 4n < 64n * MIB ? 64n * MIB : BigInt(pages) * 4096n * 4n;
  const check = (what, status) => {
    if (status !== 0) throw new Error(`${what}: status ${status}`);
  };
  if (calls.hostMmap(host, HVA, ram, L.VmaFlag.Read | L.VmaFlag.Write, 12) !== HVA)
    throw new Error("mmap failed");
  check("memslot", calls.kvmSetMemslot(host, 0, 0n, ram / 4096n, HVA, 0));
  check("boot", calls.guestBoot(0, ram, 0));
  for (let vcpu = 1; vcpu < vcpus; vcpu++) check("join", calls.guestJoin(vcpu, 0));
  check("map", calls.guestMap(0, L.GuestMapping.Offset, REGION, BigInt(pages) * 4096n, 12, 0n));
  check("tables", calls.guestPopulate(0, 0n, BigInt(pages)));
  const part = pages / vcpus;
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    calls.driveWindow(vcpu, seed, REGION + BigInt(vcpu * part) * 4096n, part, 12);
    calls.driveWorkload(vcpu, L.Workload.Sequential, 1000, 1, 0, 1);
    calls.driveCycleChunk(vcpu, 1, HVA);
  }
  const gpa = calls.guestRegionGpa(0, REGION);
  return Object.assign(machine, {
    region: { gva: REGION, gpa, hva: HVA + gpa, pages, part },
    regionDigest: (withPfns) => machine.digest(pages, gpa >> 12n, HVA + gpa, withPfns),
  });
}

// The founding race, larger: what the figures of bench/ are measured on. One file, as they differ in numbers only.
import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario, type Scenario } from "../explore/scenario.js";
import { GPA, PAGE } from "./ground.js";

interface Scale {
  readonly vcpus: number;
  readonly pages: number;
  readonly hosts: number;
}

const WORDS = ["no", "one", "two", "three"] as const;
const plural = (n: number, what: string): string => `${WORDS[n]}-${what}${n === 1 ? "" : "s"}`;

/** vCPU v writes to page v (modulo their number), each host thread drops all pages. */
function scale({ vcpus, pages, hosts }: Scale): Scenario {
  const length = BigInt(pages) * PAGE;
  const name = [plural(vcpus, "vcpu"), plural(pages, "page"), ...(hosts > 1 ? [plural(hosts, "host")] : [])];
  return scenario(`scale-${name.join("-")}`, {
    prose:
      `${WORDS[vcpus]} vCPUs write to ${WORDS[pages]} pages that the VM does not map any more, all with their tables in place, ` +
      `while ${WORDS[hosts]} host threads drop all of them: the founding race, with contention between the faults as well.`,
    holds: "Whatever the order, no guest uses a page after it was freed.",
    large: true,
    machine: { vcpus, hostThreads: hosts },
    setup(machine) {
      const hva = machine.mm.mmap(length);
      machine.memslots.add({ gpa: GPA, hva, length });
      for (let v = 0; v < vcpus; v++) {
        for (let p = 0; p < pages; p++) machine.vcpu(v).write(GPA + BigInt(p) * PAGE, 1n);
      }
      machine.mm.madviseDontneed(hva, length);
      machine.mm.populate(hva, length);
      return { hva };
    },
    actors: ({ hva }) => [
      ...Array.from({ length: vcpus }, (_, v) =>
        actor("vcpu", `vcpu${v}`, v, [vcpuCalls(v).write(GPA + BigInt(v % pages) * PAGE, 7n)]),
      ),
      ...Array.from({ length: hosts }, (_, h) =>
        actor("host", `host${h}`, vcpus + h, [hostCalls(vcpus + h).madviseDontneed(hva, length)]),
      ),
    ],
  }) as Scenario;
}

export const scaleTwoVcpusTwoPages = scale({ vcpus: 2, pages: 2, hosts: 1 });
export const scaleTwoVcpusOnePage = scale({ vcpus: 2, pages: 1, hosts: 1 });
export const scaleThreeVcpusThreePages = scale({ vcpus: 3, pages: 3, hosts: 1 });
export const scaleTwoVcpusTwoHosts = scale({ vcpus: 2, pages: 1, hosts: 2 });

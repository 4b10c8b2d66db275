/**
 * Small scenarios at random: a few actors, one or two operations each, on two pages. Nobody thought about their races
 * beforehand, which is the point: with every rule in force each must hold, whatever the number.
 */

import { KvmStatus, MapFlag } from "../core/layout.generated.js";
import { PROFILES, type ProfileName } from "../core/profiles.js";
import { type Machine } from "../machine/machine.js";
import { type MachineOptions } from "../machine/options.js";
import { hostCalls, vcpuCalls } from "./calls.js";
import { type Call, type CallResult, type Program } from "./program.js";
import { scenario, type Scenario, type ScenarioActor } from "./scenario.js";
import { Random } from "./walk.js";

const GPA = 0x10000n;
const PAGE = 4096n;
const PAGES = 2;
/** The pfn cache that all share. */
const CACHE = 0;

/** Where the guest's pages are. */
interface Place {
  readonly hva: bigint;
  /** One memslot for both pages, or one each. */
  readonly slots: readonly { readonly gpa: bigint; readonly hva: bigint; readonly length: bigint }[];
}

/** A part of a program: calls that belong together, some depending on what those before them returned. */
type Part = (place: Place) => Generator<Call, void, CallResult>;

/** What one actor does next, and how a reader is told. */
interface Operation {
  readonly says: string;
  readonly part: Part;
  /** The page that a vCPU maps for itself. */
  readonly maps?: number;
  /** Pages that user space throws away: whoever has one mapped keeps the old one, and the process gets another. */
  readonly discards?: readonly number[];
}

/** One thing that an actor could do: `page` is 0 or 1, `value` no other operation's. */
type Choice = (actor: number, page: number, value: bigint) => Operation;

function call(name: string, text: string, ...args: (number | bigint)[]): Call {
  return { name, args, text };
}

/** An operation that is one call. */
function single(says: string, make: (place: Place) => Call): Operation {
  return {
    says,
    *part(place) {
      yield make(place);
    },
  };
}

const gpaOf = (page: number): bigint => GPA + BigInt(page) * PAGE;
const hvaOf = ({ hva }: Place, page: number): bigint => hva + BigInt(page) * PAGE;

const VCPU_CHOICES: readonly Choice[] = [
  (v, page) => ({
    says: `reads page ${page}`,
    *part() {
      // What it found is part of the outcome.
      if ((yield vcpuCalls(v).read(gpaOf(page))) === 0) yield vcpuCalls(v).value();
    },
  }),
  (v, page, value) => single(`writes page ${page}`, () => vcpuCalls(v).write(gpaOf(page), value)),
  (v, page, value) => ({
    says: `maps page ${page} for itself, writes through the mapping and unmaps it`,
    maps: page,
    *part() {
      const mapped = yield call("kvmVcpuMap", `kvm_vcpu_map of page ${page}`, v, 0, gpaOf(page), 0);
      if (mapped !== KvmStatus.Ok) return;
      yield call("kvmMapWrite", `writes ${value} through the mapping`, v, 0, 0, 8, value);
      yield call("kvmVcpuUnmap", "kvm_vcpu_unmap", v, 0);
    },
  }),
  (v, page) => ({
    says: `maps page ${page} for itself to read and unmaps it`,
    maps: page,
    *part() {
      const flags = MapFlag.ReadOnly;
      const mapped = yield call(
        "kvmVcpuMap",
        `kvm_vcpu_map of page ${page} to read`,
        v,
        0,
        gpaOf(page),
        flags,
      );
      if (mapped !== KvmStatus.Ok) return;
      yield call("kvmMapRead", "reads through the mapping", v, 0, 0, 8);
      yield call("kvmVcpuUnmap", "kvm_vcpu_unmap", v, 0);
    },
  }),
];

/** What both kinds of actors may do. */
const CACHE_CHOICES: readonly Choice[] = [
  (a) =>
    single("reads through the pfn cache", () => call("kvmGpcRead", "reads through cache 0", a, CACHE, 0, 8)),
  (a, _page, value) =>
    single("writes through the pfn cache", () =>
      call("kvmGpcWrite", `writes ${value} through cache 0`, a, CACHE, 0, 8, value),
    ),
  (a, page) =>
    single(`points the pfn cache at page ${page}`, () =>
      call("kvmGpcActivate", `activates cache 0 for page ${page}`, a, CACHE, gpaOf(page), 8),
    ),
  (a) => single("deactivates the pfn cache", () => call("kvmGpcDeactivate", "deactivates cache 0", a, CACHE)),
];

const HOST_CHOICES: readonly Choice[] = [
  (h, page) => ({
    ...single(`drops page ${page}`, (place) => hostCalls(h).madviseDontneed(hvaOf(place, page), PAGE)),
    discards: [page],
  }),
  (h) => ({
    ...single("drops both pages", ({ hva }) => hostCalls(h).madviseDontneed(hva, BigInt(PAGES) * PAGE)),
    discards: [0, 1],
  }),
  (h, page) => ({
    says: `unmaps page ${page} and maps it anew`,
    discards: [page],
    *part(place) {
      yield hostCalls(h).munmap(hvaOf(place, page), PAGE);
      yield hostCalls(h).mmap(hvaOf(place, page), PAGE);
    },
  }),
  (h, page) =>
    single(`protects page ${page} from writes`, (p) => hostCalls(h).mprotect(hvaOf(p, page), PAGE, "r--")),
  (h, page) =>
    single(`lets page ${page} be written`, (p) => hostCalls(h).mprotect(hvaOf(p, page), PAGE, "rw-")),
  (h, page) => single(`touches page ${page}`, (place) => hostCalls(h).touch(hvaOf(place, page), PAGE)),
  (h, page, value) =>
    single(`stores to page ${page}`, (place) => hostCalls(h).store(hvaOf(place, page), value)),
  (h, page) => single(`loads page ${page}`, (place) => hostCalls(h).load(hvaOf(place, page))),
  (h, page) => ({
    says: `looks page ${page} up without locks and puts it`,
    *part(place) {
      const pfn = Number(yield hostCalls(h).gupFast(hvaOf(place, page)));
      if (pfn !== 0) yield hostCalls(h).putPage(pfn);
    },
  }),
  (h) => single("deletes memslot 0", () => hostCalls(h).deleteMemslot(0)),
  (h) => ({
    says: "deletes memslot 0 and adds it again",
    *part({ slots }) {
      yield hostCalls(h).deleteMemslot(0);
      yield hostCalls(h).addMemslot(0, slots[0]!.gpa, slots[0]!.length, slots[0]!.hva);
    },
  }),
  (h) =>
    single("reads guest memory as KVM does", () => call("kvmReadGuest", "kvm_read_guest", h, gpaOf(0), 8)),
];

/** A scenario before it is built: everything the number decides. */
interface Plan {
  readonly machine: MachineOptions;
  readonly profile: ProfileName;
  readonly oneSlot: boolean;
  readonly populated: readonly boolean[];
  /** Page that each vCPU has read before, -1 for none. */
  readonly warm: readonly number[];
  /** Page that the pfn cache holds before, -1 for none. */
  readonly cached: number;
  readonly actors: readonly {
    readonly name: string;
    readonly index: number;
    readonly operations: Operation[];
  }[];
}

function planOf(seed: number): Plan {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995);
  // The first numbers of neighbouring seeds look alike.
  for (let i = 0; i < 4; i++) random.below(2);
  const one = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const several = random.below(4) === 0;
  const vcpus = several ? 1 + random.below(2) : 1;
  const hostThreads = several ? 3 - vcpus : 1;
  const oneSlot = random.below(2) === 0;
  let value = 1n;
  const mapped = new Set<number>();
  const drawn = (pool: readonly Choice[], index: number): Operation => {
    while (true) {
      const operation = one(pool)(index, random.below(PAGES), value++);
      if (operation.maps !== undefined) mapped.add(operation.maps);
      // A map that user space pulls the page from under goes on with the old one, in every kernel: no race to find.
      if (!operation.discards?.some((page) => mapped.has(page))) return operation;
    }
  };
  const actorOf = (index: number) => {
    const vcpu = index < vcpus;
    // Mostly one operation: states multiply with the length of the paths.
    const count = !several && random.below(4) === 0 ? 2 : 1;
    const own = vcpu ? VCPU_CHOICES : HOST_CHOICES;
    const pool = random.below(5) === 0 ? CACHE_CHOICES : own;
    const operations = Array.from({ length: count }, () => drawn(pool, index));
    return { name: vcpu ? `vcpu${index}` : `host${index - vcpus}`, index, operations };
  };
  const actors = Array.from({ length: vcpus + hostThreads }, (_, index) => actorOf(index));
  return {
    machine: {
      vcpus,
      hostThreads,
      vmas: 6,
      prefetch: random.below(4) === 0 ? 2 : 0,
      // Likewise, a map of the page of zeroes is left behind by the first store.
      sharedZeroPage: mapped.size === 0 && random.below(4) === 0,
    },
    profile: one(Object.keys(PROFILES) as ProfileName[]),
    oneSlot,
    populated: Array.from({ length: PAGES }, () => random.below(4) !== 0),
    warm: Array.from({ length: vcpus }, () => random.below(PAGES + 1) - 1),
    cached: random.below(3) === 0 ? random.below(PAGES) : -1,
    actors,
  };
}

function programOf(operations: readonly Operation[], place: Place): Program {
  return function* () {
    for (const { part } of operations) yield* part(place);
  };
}

/** Brings the machine to where the race begins. */
function prepare(machine: Machine, plan: Plan): Place {
  const hva = machine.mm.mmap(BigInt(PAGES) * PAGE);
  const pages = plan.oneSlot ? [PAGES] : Array.from({ length: PAGES }, () => 1);
  const slots = pages.map((count, i) => ({
    gpa: gpaOf(i),
    hva: hva + BigInt(i) * PAGE,
    length: BigInt(count) * PAGE,
  }));
  for (const slot of slots) machine.memslots.add(slot);
  plan.populated.forEach((populated, page) => {
    if (populated) machine.mm.populate(hva + BigInt(page) * PAGE, PAGE);
  });
  plan.warm.forEach((page, v) => {
    if (page >= 0) machine.vcpu(v).read(gpaOf(page));
  });
  if (plan.cached >= 0) machine.core.calls.kvmGpcActivate(plan.machine.vcpus!, CACHE, gpaOf(plan.cached), 8);
  return { hva, slots };
}

function proseOf({ machine, oneSlot, populated, warm, cached, actors }: Plan): string {
  const there = populated.flatMap((is, page) => (is ? [`page ${page}`] : []));
  const sentences = [
    `${oneSlot ? "One memslot holds both pages" : "Each page has a memslot of its own"}; ` +
      `${there.length ? there.join(" and ") : "no page"} is populated.`,
    ...warm.flatMap((page, v) => (page < 0 ? [] : [`vcpu${v} has read page ${page} before.`])),
    ...(cached < 0 ? [] : [`The pfn cache holds page ${cached}.`]),
    ...(machine.prefetch ? ["Faults prefetch."] : []),
    ...(machine.sharedZeroPage ? ["Read faults map the shared page of zeroes."] : []),
    ...actors.map(({ name, operations }) => `${name} ${operations.map(({ says }) => says).join(", then ")}.`),
  ];
  return sentences.join(" ");
}

/**
 * Scenario number `seed`: the same machine, actors and calls for the same number, on the profile that it names. Its
 * outcomes are the results of all calls, so that two builds can be compared.
 * @param seed a whole number from 0 on
 */
export function randomScenario(seed: number): Scenario {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`The number of a random scenario is a whole number from 0 on, not ${seed}.`);
  const plan = planOf(seed);
  return scenario<Place>(`random-${seed}`, {
    prose: proseOf(plan),
    holds: "Whatever the order, no checker objects, and every count is right at the end.",
    machine: plan.machine,
    profiles: [plan.profile],
    setup: (machine) => prepare(machine, plan),
    actors: (place): ScenarioActor[] =>
      plan.actors.map(({ name, index, operations }) => ({
        name,
        index,
        kind: name.startsWith("vcpu") ? "vcpu" : "host",
        program: programOf(operations, place),
      })),
    judge: ({ results }) => ({
      outcome: Object.entries(results)
        .map(([name, list]) => `${name} ${list.join(" ")}`)
        .join(", "),
    }),
  }) as Scenario;
}

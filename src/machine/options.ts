/** The configuration of a machine: what may be given, its defaults and limits, and its words in the header. */

import {
  HEADER_OFFSET_BATCH_SIZE,
  HEADER_OFFSET_FILE_MAX,
  HEADER_OFFSET_FILE_PAGES,
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_HOST_COUNT,
  HEADER_OFFSET_MAXPHYADDR,
  HEADER_OFFSET_SPIN_LIMIT,
  HEADER_OFFSET_OPTIONS,
  HEADER_OFFSET_PREFETCH_GROUP,
  HEADER_OFFSET_PROFILE,
  HEADER_OFFSET_REFCOUNT_LIMIT,
  HEADER_OFFSET_RULES_OFF0,
  HEADER_OFFSET_RULES_OFF1,
  HEADER_OFFSET_SLOT_MAX,
  HEADER_OFFSET_STRUCTURE_ENTRIES,
  HEADER_OFFSET_TLB_ENTRIES,
  HEADER_OFFSET_TLB_LARGE_ENTRIES,
  HEADER_OFFSET_VCPU_COUNT,
  HEADER_OFFSET_VMA_MAX,
  HEADER_OFFSET_WALK_CACHE_ENTRIES,
  HEADER_OFFSET_WINDOW_COUNT,
  MachineOption,
  PAGE_SIZE,
  PREFETCH_GROUP_MAX,
  REFCOUNT_LIMIT_DEFAULT,
  SPIN_LIMIT_DEFAULT,
  Rule,
} from "../core/layout.generated.js";
import { type LabImports } from "../core/core.js";
import { type ModuleSource } from "../core/module.js";
import { PROFILES, isProfileName, type ProfileName } from "../core/profiles.js";
import { isRuleName, type RuleName } from "../core/rules.js";
import { type WasmMemory } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { checkOptions, flag, show } from "./arguments.js";

/** Sizes of each vCPU's translation caches, in entries; powers of two. */
export interface TlbGeometry {
  /** Entries for 4 KiB translations, 1 to 65,536. Default 1,024. */
  readonly entries?: number;
  /** Entries for larger ones, 1 to 65,536. Default 64. */
  readonly largeEntries?: number;
  /** Rows of the cache of table addresses, 1 to 65,536. Default 64. */
  readonly walkCacheEntries?: number;
  /**
   * Rows of the paging-structure caches, a power of two up to 65,536; 0, the default, for none: a walk reads every entry.
   * Needs `tlbMode: "architectural"`.
   */
  readonly structureEntries?: number;
}

/** Where the core comes from, and what it runs in. */
export interface ModuleOptions {
  /**
   * Default "release". "lab" may leave rules out and has `machine.lab`; it is slower. "embed" is for one thread, and for pages
   * without cross-origin isolation: what would have to wait for another thread is `CORE_TRAP`.
   */
  readonly module?: ModuleSource;
  /** A memory of the embedder's, zero, with `maximum` at most 65,536 pages, and shared unless the module is "embed". Default: a new one. */
  readonly memory?: WasmMemory;
  /** Answers to what a lab module asks its host (orderings, choices, notes). Ignored by a release module. */
  readonly labImports?: LabImports;
}

/** See `MachineOptions.tlbMode`. */
export type TlbMode = "strict" | "architectural";

/** What a machine is made of. Everything has a default; the whole may take 3.9 GiB. */
export interface MachineOptions extends ModuleOptions {
  /** Frames of host physical memory, 4 KiB each, 16 to 1,000,000. Default 16,384 (64 MiB). */
  readonly frames?: number;
  /** The same in bytes, a multiple of 4,096. Give this or `frames`. */
  readonly hostMemory?: number;
  /** Virtual processors, 1 to 256. Default 1. */
  readonly vcpus?: number;
  /** Threads of the host side that may act at a time, 1 to 256. Default 1: that of the thread that owns the view. */
  readonly hostThreads?: number;
  /** Memslots, 1 to 32,768. Default 64. */
  readonly slots?: number;
  /** VMAs of the VMM's address space, 1 to 65,536. Default 256. */
  readonly vmas?: number;
  readonly tlb?: TlbGeometry;
  /** Bytes of each actor's buffer for batch calls, 4,096 to 16 MiB, a multiple of 4,096. Default 65,536. */
  readonly batchSize?: number;
  /** Physical pages the window table holds, for tables beyond the frames; 0 to 65,536. Default 0. */
  readonly windows?: number;
  /** Files, in the page cache or on devices, that there may be at a time, 0 to 256. Default 0: no files, and no devices. */
  readonly files?: number;
  /** Pages that a file may have, 1 to 65,536. Default 256. */
  readonly filePages?: number;
  /** Whose protocol rules the machine follows. Default "v6.13". */
  readonly profile?: ProfileName;
  /** Physical-address width of the emulated processor, 32 to 52 bits. Default 46. */
  readonly maxphyaddr?: number;
  /** Looks at a word before a waiting thread sleeps on it, 0 to 1,000,000. Default 200; 0 sleeps at once. */
  readonly spinLimit?: number;
  /**
   * SPTEs of an aligned group that a fault fills beside its own, where the host has pages: 2, 4, or 8 as in the kernel's
   * direct_pte_prefetch; 0, the default, for none. Needs `eptAccessedDirty`.
   */
  readonly prefetch?: number;
  /** References on a page from which on a lookup takes no more, 2 to 2,147,418,112, which is the default. */
  readonly refcountLimit?: number;
  /** Zero a page before user space or the guest gets it. Default true. */
  readonly zeroPages?: boolean;
  /** Fill freed frames with a pattern and verify it when they are handed out. Default false. */
  readonly poison?: boolean;
  /** A fault that meets an open invalidation spins instead of sleeping. Default false. */
  readonly spinOnRetry?: boolean;
  /** EPT keeps accessed and dirty flags. Default true. */
  readonly eptAccessedDirty?: boolean;
  /** The processor has 1 GiB pages. Default true. */
  readonly page1GB?: boolean;
  /** KVM may map 2 MiB pages. Default true. */
  readonly hugePages?: boolean;
  /**
   * What a TLB does where the manual leaves it a choice. "strict" (default) keeps every entry until it is invalidated;
   * "architectural" asks `labImports.choose` at each use: lab module only.
   */
  readonly tlbMode?: TlbMode;
  /** Read faults of anonymous memory map one page of zeroes that all share. Default false: each gets its own. */
  readonly sharedZeroPage?: boolean;
  /** Protective clauses to leave out: lab module only. Default none. */
  readonly rulesOff?: readonly RuleName[];
}

/** A configuration in full: every default filled in, every limit checked. */
export interface MachineConfiguration {
  readonly frames: number;
  readonly vcpus: number;
  readonly hostThreads: number;
  readonly slots: number;
  readonly vmas: number;
  readonly tlb: Required<TlbGeometry>;
  readonly batchSize: number;
  readonly windows: number;
  readonly files: number;
  readonly filePages: number;
  readonly profile: ProfileName;
  readonly maxphyaddr: number;
  readonly spinLimit: number;
  readonly prefetch: number;
  readonly refcountLimit: number;
  readonly zeroPages: boolean;
  readonly poison: boolean;
  readonly spinOnRetry: boolean;
  readonly eptAccessedDirty: boolean;
  readonly page1GB: boolean;
  readonly hugePages: boolean;
  readonly tlbMode: TlbMode;
  readonly sharedZeroPage: boolean;
  readonly rulesOff: readonly RuleName[];
}

interface Limit {
  readonly minimum: number;
  readonly maximum: number;
  readonly standard: number;
  /** Must be a multiple of this. */
  readonly step?: number;
  readonly powerOfTwo?: boolean;
}

/** Least, greatest and default value of each number of a configuration. */
export const MACHINE_LIMITS = {
  frames: { minimum: 16, maximum: 1_000_000, standard: 16_384 },
  hostMemory: {
    minimum: 16 * PAGE_SIZE,
    maximum: 1_000_000 * PAGE_SIZE,
    standard: 16_384 * PAGE_SIZE,
    step: PAGE_SIZE,
  },
  vcpus: { minimum: 1, maximum: 256, standard: 1 },
  hostThreads: { minimum: 1, maximum: 256, standard: 1 },
  slots: { minimum: 1, maximum: 32_768, standard: 64 },
  vmas: { minimum: 1, maximum: 65_536, standard: 256 },
  entries: { minimum: 1, maximum: 65_536, standard: 1_024, powerOfTwo: true },
  largeEntries: { minimum: 1, maximum: 65_536, standard: 64, powerOfTwo: true },
  walkCacheEntries: { minimum: 1, maximum: 65_536, standard: 64, powerOfTwo: true },
  structureEntries: { minimum: 1, maximum: 65_536, standard: 0, powerOfTwo: true },
  batchSize: { minimum: PAGE_SIZE, maximum: 1 << 24, standard: 1 << 16, step: PAGE_SIZE },
  windows: { minimum: 0, maximum: 65_536, standard: 0 },
  files: { minimum: 0, maximum: 256, standard: 0 },
  filePages: { minimum: 1, maximum: 65_536, standard: 256 },
  maxphyaddr: { minimum: 32, maximum: 52, standard: 46 },
  spinLimit: { minimum: 0, maximum: 1_000_000, standard: SPIN_LIMIT_DEFAULT },
  refcountLimit: { minimum: 2, maximum: REFCOUNT_LIMIT_DEFAULT, standard: REFCOUNT_LIMIT_DEFAULT },
} as const satisfies Record<string, Limit>;

/** The switches of a configuration: default, and bit in the header. */
const FLAGS = {
  zeroPages: [true, MachineOption.ZeroPages],
  poison: [false, MachineOption.Poison],
  spinOnRetry: [false, MachineOption.SpinOnRetry],
  eptAccessedDirty: [true, MachineOption.EptAccessedDirty],
  page1GB: [true, MachineOption.Page1GB],
  hugePages: [true, MachineOption.HugePages],
  sharedZeroPage: [false, MachineOption.SharedZeroPage],
} as const;

type FlagName = keyof typeof FLAGS;

/** Bits of the header that a TLB mode sets. */
const TLB_MODES: Record<TlbMode, number> = { strict: 0, architectural: MachineOption.ArchitecturalTlb };

const MODULE_OPTIONS = ["module", "memory", "labImports"] as const;
const TLB_OPTIONS = ["entries", "largeEntries", "walkCacheEntries", "structureEntries"] as const;
const OPTIONS: readonly string[] = [
  ...Object.keys(MACHINE_LIMITS).filter((name) => !(TLB_OPTIONS as readonly string[]).includes(name)),
  ...Object.keys(FLAGS),
  ...["tlb", "tlbMode", "profile", "prefetch", "rulesOff"],
  ...MODULE_OPTIONS,
];

function invalid(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("CONFIG_INVALID", { message, hint });
}

function number(name: keyof typeof MACHINE_LIMITS, value: unknown): number {
  const limit: Limit = MACHINE_LIMITS[name];
  if (value === undefined) return limit.standard;
  const { minimum, maximum, step = 1, powerOfTwo = false } = limit;
  const fits = typeof value === "number" && Number.isInteger(value) && value >= minimum && value <= maximum;
  const right = fits && value % step === 0 && (!powerOfTwo || Number.isInteger(Math.log2(value)));
  if (right) return value;
  const form = powerOfTwo ? "a power of two" : step > 1 ? `a multiple of ${step}` : "an integer";
  throw invalid(
    `${name} is ${show(value)}: it has to be ${form} from ${minimum} to ${maximum}.`,
    `Change ${name}.`,
  );
}

function switchOf(name: FlagName, value: unknown): boolean {
  return flag(name, value, FLAGS[name][0], "CONFIG_INVALID");
}

function framesOf(options: MachineOptions): number {
  const { frames, hostMemory } = options;
  if (hostMemory === undefined) return number("frames", frames);
  if (frames !== undefined) throw invalid("frames and hostMemory are both given.", "Give one of them.");
  return number("hostMemory", hostMemory) / PAGE_SIZE;
}

function prefetchOf(value: unknown, accessedDirty: unknown): number {
  if (value === undefined || value === 0) return 0;
  if (value !== 2 && value !== 4 && value !== PREFETCH_GROUP_MAX) {
    throw invalid(
      `prefetch is ${show(value)}: it has to be 0, 2, 4 or ${PREFETCH_GROUP_MAX}.`,
      "Change prefetch.",
    );
  }
  if (accessedDirty !== false) return value;
  throw invalid(
    "prefetch is on and eptAccessedDirty is off: KVM prefetches only where EPT keeps accessed flags.",
    "Leave one of them out.",
  );
}

function structuresOf(value: unknown, mode: unknown): number {
  if (value === undefined || value === 0) return 0;
  const rows = number("structureEntries", value);
  if (mode === "architectural") return rows;
  throw invalid(
    `structureEntries is ${rows} and tlbMode is not "architectural": a strict processor reads every entry.`,
    'Leave structureEntries out, or set tlbMode: "architectural".',
  );
}

function rulesOf(names: unknown): readonly RuleName[] {
  if (names === undefined) return [];
  if (!Array.isArray(names))
    throw invalid("rulesOff is not a list of names.", 'Give for example ["CountChecked"].');
  for (const name of names) {
    if (!isRuleName(name)) throw invalid(`There is no rule ${show(name)}.`, "The names are those of RULES.");
  }
  return [...new Set(names as RuleName[])];
}

function profileOf(name: unknown): ProfileName {
  if (name === undefined) return "v6.13";
  if (isProfileName(name)) return name;
  throw invalid(`There is no profile ${show(name)}.`, `Use one of: ${Object.keys(PROFILES).join(", ")}.`);
}

function tlbModeOf(name: unknown): TlbMode {
  if (name === undefined) return "strict";
  if (typeof name === "string" && Object.hasOwn(TLB_MODES, name)) return name as TlbMode;
  throw invalid(`There is no TLB mode ${show(name)}.`, `Use one of: ${Object.keys(TLB_MODES).join(", ")}.`);
}

/** Checks what says where a machine's module and memory come from. Throws `CONFIG_INVALID`. */
export function checkModuleOptions(what: string, options: unknown): asserts options is ModuleOptions {
  checkOptions(what, options, MODULE_OPTIONS, "CONFIG_INVALID");
  checkLabImports((options as ModuleOptions).labImports);
}

/** Answers to a lab module: functions, by the names that it imports. Throws `CONFIG_INVALID`. */
export function checkLabImports(given: LabImports | undefined): void {
  if (given === undefined) return;
  checkOptions("labImports", given, ["order", "choose", "note"], "CONFIG_INVALID");
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && typeof value !== "function")
      throw invalid(
        `labImports.${name} is ${show(value)}: it has to be a function.`,
        "Leave it out, or pass one.",
      );
  }
}

/** Fills in defaults and checks everything that can be checked without a module. Throws `CONFIG_INVALID`. */
export function configure(options: MachineOptions): MachineConfiguration {
  checkOptions("options of the machine", options, OPTIONS, "CONFIG_INVALID");
  checkLabImports(options.labImports);
  const tlb: TlbGeometry = options.tlb ?? {};
  checkOptions("geometry of the TLB (tlb)", tlb, TLB_OPTIONS, "CONFIG_INVALID");
  return {
    frames: framesOf(options),
    vcpus: number("vcpus", options.vcpus),
    hostThreads: number("hostThreads", options.hostThreads),
    slots: number("slots", options.slots),
    vmas: number("vmas", options.vmas),
    tlb: {
      entries: number("entries", tlb.entries),
      largeEntries: number("largeEntries", tlb.largeEntries),
      walkCacheEntries: number("walkCacheEntries", tlb.walkCacheEntries),
      structureEntries: structuresOf(tlb.structureEntries, options.tlbMode),
    },
    batchSize: number("batchSize", options.batchSize),
    windows: number("windows", options.windows),
    files: number("files", options.files),
    filePages: number("filePages", options.filePages),
    profile: profileOf(options.profile),
    maxphyaddr: number("maxphyaddr", options.maxphyaddr),
    spinLimit: number("spinLimit", options.spinLimit),
    prefetch: prefetchOf(options.prefetch, options.eptAccessedDirty),
    refcountLimit: number("refcountLimit", options.refcountLimit),
    zeroPages: switchOf("zeroPages", options.zeroPages),
    poison: switchOf("poison", options.poison),
    spinOnRetry: switchOf("spinOnRetry", options.spinOnRetry),
    eptAccessedDirty: switchOf("eptAccessedDirty", options.eptAccessedDirty),
    page1GB: switchOf("page1GB", options.page1GB),
    hugePages: switchOf("hugePages", options.hugePages),
    tlbMode: tlbModeOf(options.tlbMode),
    sharedZeroPage: switchOf("sharedZeroPage", options.sharedZeroPage),
    rulesOff: rulesOf(options.rulesOff),
  };
}

/** The words of the header that a configuration fills, where they are 32-bit numbers. */
const WORDS: readonly (readonly [offset: number, read: (c: MachineConfiguration) => number])[] = [
  [HEADER_OFFSET_FRAME_COUNT, (c) => c.frames],
  [HEADER_OFFSET_VCPU_COUNT, (c) => c.vcpus],
  [HEADER_OFFSET_HOST_COUNT, (c) => c.hostThreads],
  [HEADER_OFFSET_SLOT_MAX, (c) => c.slots],
  [HEADER_OFFSET_VMA_MAX, (c) => c.vmas],
  [HEADER_OFFSET_TLB_ENTRIES, (c) => c.tlb.entries],
  [HEADER_OFFSET_TLB_LARGE_ENTRIES, (c) => c.tlb.largeEntries],
  [HEADER_OFFSET_WALK_CACHE_ENTRIES, (c) => c.tlb.walkCacheEntries],
  [HEADER_OFFSET_STRUCTURE_ENTRIES, (c) => c.tlb.structureEntries],
  [HEADER_OFFSET_BATCH_SIZE, (c) => c.batchSize],
  [HEADER_OFFSET_WINDOW_COUNT, (c) => c.windows],
  [HEADER_OFFSET_FILE_MAX, (c) => c.files],
  [HEADER_OFFSET_FILE_PAGES, (c) => c.filePages],
  [HEADER_OFFSET_MAXPHYADDR, (c) => c.maxphyaddr],
  [HEADER_OFFSET_SPIN_LIMIT, (c) => c.spinLimit],
  [HEADER_OFFSET_PREFETCH_GROUP, (c) => c.prefetch],
  [HEADER_OFFSET_REFCOUNT_LIMIT, (c) => c.refcountLimit],
  [HEADER_OFFSET_PROFILE, (c) => PROFILES[c.profile].number],
  [HEADER_OFFSET_OPTIONS, flagBits],
];

function flagBits(configuration: MachineConfiguration): number {
  let bits = TLB_MODES[configuration.tlbMode];
  for (const name of Object.keys(FLAGS) as FlagName[]) if (configuration[name]) bits |= FLAGS[name][1];
  return bits;
}

/** Writes a configuration to the header of an empty memory. */
export function writeConfiguration(view: DataView, configuration: MachineConfiguration): void {
  for (const [offset, read] of WORDS) view.setUint32(offset, read(configuration), true);
  const off = configuration.rulesOff.reduce((bits, name) => bits | (1n << BigInt(Rule[name])), 0n);
  view.setBigUint64(HEADER_OFFSET_RULES_OFF0, BigInt.asUintN(64, off), true);
  view.setBigUint64(HEADER_OFFSET_RULES_OFF1, off >> 64n, true);
}

/** Reads the configuration of a machine back from its header. Throws `CONFIG_INVALID` if it is none that can be. */
export function readConfiguration(view: DataView): MachineConfiguration {
  const word = (offset: number): number => view.getUint32(offset, true);
  const off =
    view.getBigUint64(HEADER_OFFSET_RULES_OFF0, true) |
    (view.getBigUint64(HEADER_OFFSET_RULES_OFF1, true) << 64n);
  const options = word(HEADER_OFFSET_OPTIONS);
  const profile = Object.values(PROFILES).find((row) => row.number === word(HEADER_OFFSET_PROFILE));
  if (!profile)
    throw invalid(
      "The machine has a profile that this version does not know.",
      "Use the version that made it.",
    );
  const flags = {} as Record<FlagName, boolean>;
  for (const name of Object.keys(FLAGS) as FlagName[]) flags[name] = (options & FLAGS[name][1]) !== 0;
  return configure({
    frames: word(HEADER_OFFSET_FRAME_COUNT),
    vcpus: word(HEADER_OFFSET_VCPU_COUNT),
    hostThreads: word(HEADER_OFFSET_HOST_COUNT),
    slots: word(HEADER_OFFSET_SLOT_MAX),
    vmas: word(HEADER_OFFSET_VMA_MAX),
    tlb: {
      entries: word(HEADER_OFFSET_TLB_ENTRIES),
      largeEntries: word(HEADER_OFFSET_TLB_LARGE_ENTRIES),
      walkCacheEntries: word(HEADER_OFFSET_WALK_CACHE_ENTRIES),
      structureEntries: word(HEADER_OFFSET_STRUCTURE_ENTRIES),
    },
    batchSize: word(HEADER_OFFSET_BATCH_SIZE),
    windows: word(HEADER_OFFSET_WINDOW_COUNT),
    files: word(HEADER_OFFSET_FILE_MAX),
    filePages: word(HEADER_OFFSET_FILE_PAGES),
    maxphyaddr: word(HEADER_OFFSET_MAXPHYADDR),
    spinLimit: word(HEADER_OFFSET_SPIN_LIMIT),
    prefetch: word(HEADER_OFFSET_PREFETCH_GROUP),
    refcountLimit: word(HEADER_OFFSET_REFCOUNT_LIMIT),
    profile: profile.name,
    ...flags,
    tlbMode: options & MachineOption.ArchitecturalTlb ? "architectural" : "strict",
    rulesOff: (Object.keys(Rule) as RuleName[]).filter((name) => (off >> BigInt(Rule[name])) & 1n),
  });
}

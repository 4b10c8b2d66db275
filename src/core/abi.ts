/**
 * The exports of the core as data: parameters and result of each, in the order of assembly/abi/. The typed calls of
 * `Core` are derived from this table, and test/unit/core-abi.test.ts compares it, name by name and both ways, with the
 * built modules and with the declarations that the compiler emits.
 */

/** Kinds of values; an enumerator or an address in the core's memory is a u32. */
type Kind = "u32" | "i32" | "u64" | "bool";
type ResultKind = Kind | "void";

interface Signature {
  readonly parameters: readonly Kind[];
  readonly result: ResultKind;
}

function signature<const P extends readonly Kind[], const R extends ResultKind>(
  parameters: P,
  result: R,
): { readonly parameters: P; readonly result: R } {
  return { parameters, result };
}

type Value<K extends ResultKind> = K extends "u64"
  ? bigint
  : K extends "u32" | "i32"
    ? number
    : K extends "bool"
      ? boolean
      : void;

type Parameters<P extends readonly Kind[]> = {
  -readonly [I in keyof P]: P[I] extends "bool" ? boolean : Value<P[I]>;
};

/** A table of signatures as an object of functions. */
export type Calls<T extends Readonly<Record<string, Signature>>> = {
  readonly [K in keyof T]: (...values: Parameters<T[K]["parameters"]>) => Value<T[K]["result"]>;
};

/** What every module of the core exports. */
export const ABI = {
  // machine
  plan: signature([], "u32"),
  create: signature([], "void"),
  attach: signature([], "u32"),
  // cpu
  cpuReset: signature(["u32"], "void"),
  registerWrite: signature(["u32", "u32", "u64"], "u32"),
  registerRead: signature(["u32", "u32"], "u64"),
  translate: signature(["u32", "u64", "u32", "bool"], "u32"),
  translateInWindows: signature(["u32", "u64", "u32", "bool"], "u32"),
  translateBatch: signature(["u32", "u32", "u32"], "u32"),
  invlpg: signature(["u32", "u64"], "u32"),
  invpcid: signature(["u32", "u64", "u64", "u64"], "u32"),
  invept: signature(["u32", "u64", "u64"], "u32"),
  invvpid: signature(["u32", "u64", "u64", "u64"], "u32"),
  vmTransition: signature(["u32"], "void"),
  tlbFlush: signature(["u32", "u32", "u64"], "void"),
  tlbProbe: signature(["u32", "u64", "u32"], "u32"),
  tlbAccess: signature(["u32", "u64", "u32"], "u32"),
  windowPut: signature(["u64"], "u32"),
  windowFind: signature(["u64"], "u32"),
  windowClear: signature([], "void"),
  measureWalk: signature(["u32", "u32", "bool", "u64", "u32", "u32", "u64"], "u64"),
  // walk
  windowAbsent: signature(["u64"], "void"),
  translateTablesBatch: signature(["u32", "u32", "u32", "u32"], "u64"),
  scanStart: signature(["u32", "u64", "u64", "u32"], "void"),
  scanNext: signature(["u32", "u32"], "u32"),
  // case
  runCases: signature(["u32", "u32"], "u32"),
  // host
  hostMmap: signature(["u32", "u64", "u64", "u32", "u32"], "u64"),
  hostMunmap: signature(["u32", "u64", "u64"], "u32"),
  hostMprotect: signature(["u32", "u64", "u64", "u32"], "u32"),
  hostDontneed: signature(["u32", "u64", "u64"], "u32"),
  hostTouch: signature(["u32", "u64", "u64", "u32"], "u32"),
  hostGupEach: signature(["u32", "u64", "u32", "u32"], "u32"),
  hostGup: signature(["u32", "u64", "u32"], "u64"),
  hostGupFast: signature(["u32", "u64", "u32"], "u32"),
  hostPutPage: signature(["u32", "u32"], "void"),
  hostGetPage: signature(["u32", "u32"], "void"),
  hostAllocPage: signature(["u32"], "u32"),
  hostAllocBlock: signature(["u32", "u32"], "u32"),
  hostLoad: signature(["u32", "u64", "u32"], "u64"),
  hostLoadStatus: signature(["u32"], "u32"),
  hostStore: signature(["u32", "u64", "u32", "u64"], "u32"),
  hostRead: signature(["u32", "u64", "u32"], "u32"),
  hostWrite: signature(["u32", "u64", "u32"], "u32"),
  hostMappingShiftOf: signature(["u32", "u64"], "u32"),
  hostPte: signature(["u32", "u64"], "u64"),
  hostVmaCount: signature([], "u32"),
  hostFlushTlb: signature(["u32"], "void"),
  hostTlbFlushes: signature([], "u64"),
  hostFreeFrames: signature([], "u32"),
  hostDrain: signature(["u32"], "void"),
  hostFreeBlocks: signature(["u32", "u32"], "u32"),
  hostFrame: signature(["u32"], "u32"),
  hostHead: signature(["u32"], "u32"),
  hostRefcount: signature(["u32"], "i32"),
  hostMapcount: signature(["u32"], "i32"),
  hostEpoch: signature(["u32"], "u32"),
  hostCheckBalance: signature(["u32"], "u32"),
  // file
  hostFileCreate: signature(["u32", "u32"], "u64"),
  hostFileDestroy: signature(["u32", "u32", "u32"], "u32"),
  hostMmapFile: signature(["u32", "u64", "u64", "u32", "u32", "u32"], "u64"),
  hostFileRead: signature(["u32", "u32", "u64", "u32"], "u32"),
  hostFileWrite: signature(["u32", "u32", "u64", "u32"], "u32"),
  hostFileTruncate: signature(["u32", "u32", "u32", "u32"], "u32"),
  hostFilePunch: signature(["u32", "u32", "u32", "u32", "u32"], "u32"),
  hostFileKind: signature(["u32"], "u32"),
  hostFileSize: signature(["u32"], "u32"),
  hostFilePage: signature(["u32", "u32"], "u32"),
  hostDeviceCreate: signature(["u32", "u32"], "u64"),
  hostDeviceDestroy: signature(["u32", "u32", "u32"], "u32"),
  hostDevicePfn: signature(["u32"], "u32"),
  hostPin: signature(["u32", "u64", "u32"], "u64"),
  hostPinFast: signature(["u32", "u64", "u32"], "u32"),
  hostUnpin: signature(["u32", "u32", "u32"], "void"),
  hostMaybePinned: signature(["u32"], "u32"),
  hostPincount: signature(["u32"], "i32"),
  hostPageMapping: signature(["u32"], "u32"),
  hostDirectBegin: signature(["u32", "u64", "u32", "u32"], "u32"),
  hostDirectTransfer: signature(["u32", "u32", "u32", "u32"], "u32"),
  hostDirectEnd: signature(["u32", "u32"], "u32"),
  hostDirectRead: signature(["u32", "u64", "u32"], "u32"),
  hostDirectWrite: signature(["u32", "u64", "u32"], "u32"),
  // maps
  hostRemapPfn: signature(["u32", "u64", "u64", "u32", "u32", "u32"], "u64"),
  hostAllocRaw: signature(["u32", "u32"], "u32"),
  hostFreeRaw: signature(["u32", "u32", "u32"], "void"),
  hostZeroPfn: signature([], "u32"),
  hostVmaPageShift: signature(["u32", "u64"], "u32"),
  hostSplitPage: signature(["u32", "u64"], "u32"),
  hostFork: signature(["u32", "u64", "u64"], "u64"),
  hostForkExit: signature(["u32", "u32"], "u32"),
  hostForkPte: signature(["u32", "u64"], "u64"),
  hostPageFlags: signature(["u32"], "u32"),
  // kvm
  kvmSetMemslot: signature(["u32", "u32", "u64", "u64", "u64", "u32"], "u32"),
  kvmSlotCount: signature([], "u32"),
  kvmSlotAt: signature(["u32"], "u32"),
  kvmGeneration: signature([], "u32"),
  kvmInvalidateSeq: signature([], "u32"),
  kvmInvalidateInProgress: signature([], "u32"),
  kvmActiveInvalidations: signature([], "u32"),
  kvmTableCount: signature([], "u32"),
  kvmLeafCount: signature(["u32"], "u64"),
  kvmLeaf: signature(["u32", "u64"], "u64"),
  kvmVcpuRoot: signature(["u32"], "u32"),
  kvmUnloadAll: signature(["u32"], "void"),
  // vcpu
  vcpuLoad: signature(["u32", "u64", "u32", "u32"], "u32"),
  vcpuStore: signature(["u32", "u64", "u32", "u64"], "u32"),
  vcpuModify: signature(["u32", "u64", "u32", "u32", "u64", "u64"], "u32"),
  vcpuValue: signature(["u32"], "u64"),
  vcpuRunRecords: signature(["u32", "u32", "u32"], "u32"),
  vcpuRunAccesses: signature(["u32", "u32"], "u32"),
  vcpuInterrupt: signature(["u32"], "void"),
  vcpuResume: signature(["u32"], "void"),
  // users
  kvmReadGuest: signature(["u32", "u64", "u32"], "u32"),
  kvmWriteGuest: signature(["u32", "u64", "u32"], "u32"),
  kvmVcpuMap: signature(["u32", "u32", "u64", "u32"], "u32"),
  kvmVcpuUnmap: signature(["u32", "u32"], "u32"),
  kvmMapRead: signature(["u32", "u32", "u32", "u32"], "u32"),
  kvmMapWrite: signature(["u32", "u32", "u32", "u32", "u64"], "u32"),
  kvmHwWrite: signature(["u32", "u32", "u32", "u32", "u64"], "u32"),
  kvmGpcActivate: signature(["u32", "u32", "u64", "u32"], "u32"),
  kvmGpcDeactivate: signature(["u32", "u32"], "u32"),
  kvmGpcCheck: signature(["u32", "u32", "u32"], "bool"),
  kvmGpcRefresh: signature(["u32", "u32", "u32"], "u32"),
  kvmGpcRead: signature(["u32", "u32", "u32", "u32"], "u32"),
  kvmGpcWrite: signature(["u32", "u32", "u32", "u32", "u64"], "u32"),
  // drive
  guestBoot: signature(["u32", "u64", "u32"], "u32"),
  guestJoin: signature(["u32", "u32"], "u32"),
  guestMap: signature(["u32", "u32", "u64", "u64", "u32", "u64"], "u32"),
  guestPopulate: signature(["u32", "u64", "u64"], "u32"),
  guestMapPage: signature(["u32", "u64", "u64", "u32", "u64"], "u32"),
  guestUnmap: signature(["u32", "u64"], "u32"),
  guestFault: signature(["u32", "u64", "u32"], "u32"),
  guestLeaf: signature(["u32", "u64"], "u64"),
  guestRegionStart: signature(["u32"], "u64"),
  guestRegionGpa: signature(["u32", "u64"], "u64"),
  driveWindow: signature(["u32", "u64", "u64", "u32", "u32"], "void"),
  driveWorkload: signature(["u32", "u32", "u32", "u32", "u32", "u32"], "void"),
  driveCycleChunk: signature(["u32", "u32", "u64"], "void"),
  driveSpan: signature(["u32", "u64", "u64", "u32", "u32", "u32"], "void"),
  driveRun: signature(["u32", "u32"], "u32"),
  drivePopulate: signature(["u32", "u32"], "u32"),
  driveRewind: signature(["u32"], "void"),
  driveBuildChase: signature(["u32", "u32"], "u32"),
  driveCycle: signature(["u32", "u32"], "u32"),
  driveCyclePrepare: signature(["u32"], "bool"),
  driveInvalidate: signature(["u32", "u32"], "u32"),
  driveTrace: signature(["u32", "u32", "u32"], "u32"),
  driveVerify: signature(["u32", "u32"], "u32"),
  driveAdd: signature(["u32", "u32"], "u32"),
  driveSum: signature(["u32"], "bool"),
  driveOwnedValue: signature(["u32", "u64", "u64"], "u64"),
  driveSample: signature(["u32", "u32"], "u32"),
  driveStatus: signature(["u32"], "u32"),
  driveIntegrity: signature(["u32"], "u32"),
  histogramRecord: signature(["u32", "u64"], "void"),
  histogramAddress: signature(["u32"], "u32"),
  histogramClear: signature(["u32"], "void"),
  histogramBucketOf: signature(["u64"], "u32"),
  histogramBucketLow: signature(["u32"], "u64"),
} as const;

/** What the lab module exports beside `ABI`: the parts of the protocol one by one. */
export const LAB_ABI = {
  labFaultBegin: signature(["u32", "u64", "u32"], "bool"),
  labSnapshot: signature(["u32"], "void"),
  labResolve: signature(["u32"], "u32"),
  labCommit: signature(["u32"], "u32"),
  labFaultEnd: signature(["u32"], "void"),
  labInvalidateStart: signature(["u32", "u64", "u64"], "void"),
  labInvalidateEnd: signature(["u32", "u64", "u64"], "void"),
  labRcuGrace: signature(["u32"], "void"),
  labSpeculate: signature(["u32", "u32", "u64", "u32"], "bool"),
} as const;

export type CoreCalls = Calls<typeof ABI>;
export type LabCalls = Calls<typeof LAB_ABI>;

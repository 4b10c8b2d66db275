// Generated from assembly/ by `npm run build:core -- --write`; the build fails where it differs. Do not edit.

export const ABI_VERSION = 1;
export const ACTOR_CONTROL = 0;
export const ACTOR_CPU = 256;
export const ACTOR_DRIVE = 0xa00;
export const ACTOR_GATHER = 0x1000;
export const ACTOR_GRACE = 128;
export const ACTOR_POOL = 0x600;
export const ACTOR_SHIFT = 13;
export const ACTOR_SIZE = 0x2000;
export const ACTOR_STATS = 512;
export const ACTOR_WALK = 0x400;
export const CONTROL_MODE = 0;
export const CONTROL_MODE_WAITERS = 8;
export const CONTROL_REQUESTS = 4;
export const CONTROL_STATE = 12;
export const GATHER_MAX = 0x400;
export const GATHER_PFNS = 0x1000;
export const GRACE_RCU = 132;
export const GRACE_RCU_DEPTH = 136;
export const GRACE_SRCU = 128;
export const GRACE_SRCU_DEPTH = 140;
export const HEADER_ABORT = 0x1080;
export const HEADER_BASE = 0x1000;
export const HEADER_OFFSET_ACTORS_BASE = 0x1048;
export const HEADER_OFFSET_BATCHES_BASE = 0x1060;
export const HEADER_OFFSET_BATCH_SIZE = 0x102c;
export const HEADER_OFFSET_FRAMES_BASE = 0x106c;
export const HEADER_OFFSET_FRAME_COUNT = 0x1010;
export const HEADER_OFFSET_HISTOGRAMS_BASE = 0x104c;
export const HEADER_OFFSET_HOST_COUNT = 0x1018;
export const HEADER_OFFSET_MAXPHYADDR = 0x1038;
export const HEADER_OFFSET_OPTIONS = 0x1034;
export const HEADER_OFFSET_PAGES_BASE = 0x1068;
export const HEADER_OFFSET_PROFILE = 0x100c;
export const HEADER_OFFSET_RULES_OFF0 = 0x1070;
export const HEADER_OFFSET_RULES_OFF1 = 0x1078;
export const HEADER_OFFSET_SIZE = 0x1008;
export const HEADER_OFFSET_SLOTS_BASE = 0x1050;
export const HEADER_OFFSET_SLOT_MAX = 0x101c;
export const HEADER_OFFSET_TLB_ENTRIES = 0x1024;
export const HEADER_OFFSET_TLB_LARGE_ENTRIES = 0x1028;
export const HEADER_OFFSET_VCPU_COUNT = 0x1014;
export const HEADER_OFFSET_VMA_MAX = 0x1020;
export const HEADER_OFFSET_WALK_CACHE_ENTRIES = 0x103c;
export const HEADER_OFFSET_WINDOWS_BASE = 0x1064;
export const HEADER_OFFSET_WINDOW_COUNT = 0x1030;
export const HEADER_SIZE = 0x1000;
export const HEADER_STOP = 0x1098;
export const HEADER_TRAP_ACTOR = 0x1088;
export const HEADER_TRAP_ARGUMENT = 0x1090;
export const HEADER_TRAP_CODE = 0x1084;
export const HISTOGRAM_BUCKETS = 0x4a0;
export const HISTOGRAM_SIZE = 0x3000;
export const HISTOGRAM_SUB_SHIFT = 5;
export const KVM_ALIVE = 0x219c;
export const KVM_BASE = 0x2000;
export const KVM_CURRENT_ROOT = 0x218c;
export const KVM_DEFERRED_COUNT = 0x21a8;
export const KVM_DEFERRED_HEAD = 0x21a0;
export const KVM_DEFERRED_LOCK = 0x21a4;
export const KVM_GENERATION = 0x2184;
export const KVM_INVALIDATE_IN_PROGRESS = 0x2084;
export const KVM_INVALIDATE_RANGE_END = 0x2090;
export const KVM_INVALIDATE_RANGE_START = 0x2088;
export const KVM_INVALIDATE_SEQ = 0x2080;
export const KVM_INVALIDATE_WAITERS = 0x2098;
export const KVM_MMU_LOCK = 0x2000;
export const KVM_MN_ACTIVE_COUNT = 0x2104;
export const KVM_MN_ACTIVE_WAITERS = 0x2108;
export const KVM_MN_INVALIDATE_LOCK = 0x2100;
export const KVM_RCU_EPOCH = 0x2194;
export const KVM_ROOTS_HEAD = 0x2188;
export const KVM_SIZE = 0x1000;
export const KVM_SLOTS_ACTIVE = 0x2180;
export const KVM_SLOTS_ARCH_LOCK = 0x2110;
export const KVM_SLOTS_LOCK = 0x210c;
export const KVM_SRCU_EPOCH = 0x2190;
export const KVM_TABLE_COUNT = 0x2198;
export const KVM_TDP_PAGES_LOCK = 0x21ac;
export const MACHINE_SIZE_MAX = 0xf9990000n;
export const MAGIC = 0x554d4d47;
export const MM_BASE = 0x3000;
export const MM_MMAP_LOCK = 0;
export const MM_NOTIFIERS = 128;
export const MM_NOTIFIER_SLOTS = 4;
export const MM_SIZE = 0x1000;
export const MM_TLB_FLUSHES = 144;
export const PAGE_EPOCH = 60;
export const PAGE_FLAGS = 8;
export const PAGE_HEAD = 20;
export const PAGE_INDEX = 32;
export const PAGE_LOCK = 28;
export const PAGE_MAPCOUNT = 4;
export const PAGE_OWN = 56;
export const PAGE_REFCOUNT = 0;
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 0x1000;
export const PAGE_STRUCT_SHIFT = 6;
export const PAGE_STRUCT_SIZE = 64;
export const POOL_BATCH = 64;
export const POOL_READY = 0x640;
export const POOL_READY_MAX = 192;
export const POOL_TABLES = 0x610;
export const POOL_TABLES_MAX = 12;
export const PROFILE_COUNT = 2;
export const RANGE_SENTINEL = 0xffffffffffffffffn;
export const RULE_COUNT = 33;
export const SLOTS_HEAD_SIZE = 64;
export const SLOT_BY_HVA_SHIFT = 4;
export const SLOT_OFFSET_BASE_GFN = 0;
export const SLOT_OFFSET_FLAGS = 28;
export const SLOT_OFFSET_HVA = 16;
export const SLOT_OFFSET_ID = 24;
export const SLOT_OFFSET_NPAGES = 8;
export const SLOT_SHIFT = 5;
export const STAT_COUNT = 64;
export const TLB_ENTRY_SHIFT = 5;
export const VMA_SHIFT = 5;
export const WALK_OFFSET_ERROR = 4;
export const WALK_OFFSET_GPA = 16;
export const WALK_OFFSET_GVA = 8;
export const WALK_OFFSET_OUTCOME = 0;
export const WALK_OFFSET_PA = 24;
export const WALK_OFFSET_RIGHTS = 40;
export const WALK_OFFSET_SHIFT = 32;
export const WALK_OFFSET_STEPS = 36;
export const WALK_STEPS = 0x440;
export const WALK_STEP_MAX = 28;
export const WINDOW_ROW_SHIFT = 4;
export const ZONE_BASE = 0x3100;
export const ZONE_FREE = 0x3104;
export const ZONE_LISTS = 0x3140;
export const ZONE_LOCK = 0x3100;
export const ZONE_MANAGED = 0x3108;
export const ZONE_ORDERS = 11;

export const Access = {
  Read: 0,
  Write: 1,
  Fetch: 2,
  Modify: 3,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

export const ActorState = {
  Idle: 0,
  Running: 1,
  Dead: 2,
} as const;
export type ActorState = (typeof ActorState)[keyof typeof ActorState];

export const AttachResult = {
  Ok: 0,
  NoMachine: 1,
  OtherVersion: 2,
} as const;
export type AttachResult = (typeof AttachResult)[keyof typeof AttachResult];

export const Barrier = {
  Rmb: 8,
  Wmb: 9,
  Mb: 10,
} as const;
export type Barrier = (typeof Barrier)[keyof typeof Barrier];

export const MachineOption = {
  ZeroPages: 1,
  Poison: 2,
  SpinOnRetry: 4,
  EptAccessedDirty: 8,
  Page1GB: 16,
  HugePages: 32,
} as const;
export type MachineOption = (typeof MachineOption)[keyof typeof MachineOption];

export const Notifier = {
  None: 0,
  Kvm: 1,
} as const;
export type Notifier = (typeof Notifier)[keyof typeof Notifier];

export const Order = {
  Relaxed: 0,
  Acquire: 1,
  Release: 2,
  Full: 3,
  None: 4,
} as const;
export type Order = (typeof Order)[keyof typeof Order];

export const Outcome = {
  Ok: 0,
  PageFault: 1,
  GeneralProtection: 2,
  StackFault: 3,
  EptViolation: 4,
  EptMisconfiguration: 5,
  Mmio: 6,
  Missing: 7,
  Interrupted: 8,
  HostFault: 9,
  OutOfFrames: 10,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export const PageFlag = {
  Buddy: 1,
  HostTable: 2,
  KvmTable: 4,
  Head: 8,
  Tail: 16,
  Dirty: 32,
  Referenced: 64,
  Reserved: 128,
  Poisoned: 256,
  Cached: 512,
} as const;
export type PageFlag = (typeof PageFlag)[keyof typeof PageFlag];

export const Profile = {
  V5_4: 0,
  V6_13: 1,
} as const;
export type Profile = (typeof Profile)[keyof typeof Profile];

export const Request = {
  TlbFlush: 1,
  FreeObsoleteRoots: 2,
  Exit: 4,
} as const;
export type Request = (typeof Request)[keyof typeof Request];

export const Rule = {
  SeqRaisedInEnd: 1,
  CountChecked: 2,
  SeqChecked: 3,
  SnapshotBeforeGup: 4,
  RetryUnderLock: 5,
  LockHeldToInstall: 6,
  SeqBeforeCount: 7,
  FlushBeforeStartReturns: 8,
  FlushBeforeYield: 9,
  ZapInvalidRoots: 10,
  ObsoleteRootChecked: 11,
  UpdaterWaitsForInvalidations: 12,
  InvalidSlotRetries: 13,
  RangeAddedBeforeZap: 14,
  GupRechecksPte: 15,
  GetUnlessZero: 16,
  PutOnRetry: 17,
  HostFlushBeforePut: 18,
  TableFreeWaitsForRcu: 19,
  RemovedTableFrozen: 20,
  ZapExchanges: 21,
  HostLevelAfterCheck: 22,
  UpdaterSynchronizes: 23,
  FlushOnTableReplaced: 24,
  PutAfterInstall: 25,
  EntryChecksRequests: 26,
  FlushWaitsForAck: 27,
  RequestBeforeModeCheck: 28,
  StartBeforeClear: 29,
  HostPteClearedBeforeEnd: 30,
  ReloadRequestedWithInvalidation: 31,
  InstallCompares: 32,
  RangeOfAllOpen: 33,
} as const;
export type Rule = (typeof Rule)[keyof typeof Rule];

export const SlotFlag = {
  ReadOnly: 2,
  Invalid: 0x10000,
} as const;
export type SlotFlag = (typeof SlotFlag)[keyof typeof SlotFlag];

export const Stat = {
  Accesses: 0,
  TlbHits: 1,
  Walks: 2,
  GuestFaults: 3,
  Faults: 4,
  FaultsFixed: 5,
  FaultsSpurious: 6,
  RetriesSeq: 7,
  RetriesCount: 8,
  RetriesRoot: 9,
  RetriesRace: 10,
  RetryWaits: 11,
  Mmio: 12,
  TlbFlushes: 13,
  HostFaults: 14,
  GupFast: 15,
  GupSlow: 16,
  HugeLeaves: 17,
  TablesLinked: 18,
  Invalidations: 19,
  LeavesZapped: 20,
  RemoteFlushes: 21,
  Ipis: 22,
  Yields: 23,
  HostUnmaps: 24,
  IntegrityErrors: 25,
  PoolRefills: 26,
  Exits: 27,
  AccessFaults: 28,
  FaultErrors: 29,
} as const;
export type Stat = (typeof Stat)[keyof typeof Stat];

export const Switch = {
  MmuRwLock: 1,
  RangeRetry: 2,
  BeginOnlyOnOverlap: 4,
  PreCheck: 8,
} as const;
export type Switch = (typeof Switch)[keyof typeof Switch];

export const Trap = {
  None: 0,
  Aborted: 1,
  RefcountUnderflow: 2,
  AllocOfUsedPage: 3,
  PoisonOverwritten: 4,
  UnlockByOther: 5,
  LockTwice: 6,
  InProgressUnderflow: 7,
  ActiveUnderflow: 8,
  LeafChanged: 9,
  RangeSentinel: 10,
  GraceUnbalanced: 11,
  BadPfn: 12,
  TableCacheEmpty: 13,
  MapcountUnderflow: 14,
  RootUnderflow: 15,
  DoubleFree: 16,
  GatherOverflow: 17,
  GetOfFreePage: 18,
} as const;
export type Trap = (typeof Trap)[keyof typeof Trap];

export const VcpuMode = {
  OutsideGuest: 0,
  InGuest: 1,
  ExitingGuest: 2,
  ReadingShadowPageTables: 3,
} as const;
export type VcpuMode = (typeof VcpuMode)[keyof typeof VcpuMode];

export const VmaFlag = {
  Read: 1,
  Write: 2,
  Exec: 4,
} as const;
export type VmaFlag = (typeof VmaFlag)[keyof typeof VmaFlag];

// Generated from assembly/ by `npm run build:core -- --write`; the build fails where it differs. Do not edit.

export const ABI_VERSION = 1;
export const ACCESS_ANY = 255;
export const ACCESS_COUNT = 8;
export const ACTOR_CONTROL = 0;
export const ACTOR_CPU = 256;
export const ACTOR_DRIVE = 0xa00;
export const ACTOR_FAULT = 0xf00;
export const ACTOR_GATHER = 0x1000;
export const ACTOR_GRACE = 128;
export const ACTOR_GUEST = 0xdc0;
export const ACTOR_INTEGRITY = 0xc00;
export const ACTOR_MAPS = 0xf80;
export const ACTOR_OWN_SPACE = 0xe40;
export const ACTOR_POOL = 0x680;
export const ACTOR_SHIFT = 13;
export const ACTOR_SIZE = 0x2000;
export const ACTOR_STATS = 576;
export const ACTOR_WALK = 0x400;
export const BATCH_FAILED = 0x8000000000000000n;
export const CASE_ACCESS = 8;
export const CASE_BYTES = 12;
export const CASE_ERROR = 32;
export const CASE_FAULT_GVA = 40;
export const CASE_GPA = 48;
export const CASE_GVA = 0;
export const CASE_OUTCOME = 20;
export const CASE_PA = 56;
export const CASE_PML_INDEX = 72;
export const CASE_REFUSED = 24;
export const CASE_REGISTERS = 80;
export const CASE_REGISTER_COUNT = 16;
export const CASE_SECOND_PA = 64;
export const CASE_SIZE = 208;
export const CASE_WORDS = 16;
export const CASE_WORD_SIZE = 24;
export const CONTROL_MODE = 0;
export const CONTROL_MODE_WAITERS = 8;
export const CONTROL_REQUESTS = 4;
export const CONTROL_STATE = 12;
export const CPU_CONTEXT = 256;
export const CPU_CPL = 420;
export const CPU_CR0 = 440;
export const CPU_CR3 = 424;
export const CPU_CR4 = 444;
export const CPU_DENY = 280;
export const CPU_DENY_TABLE = 376;
export const CPU_EFER = 448;
export const CPU_EPTP = 432;
export const CPU_EPT_VPID_CAP = 528;
export const CPU_GENERATION = 264;
export const CPU_INVALIDATIONS = 488;
export const CPU_IN_GUEST = 560;
export const CPU_KEPT_GENERATION = 276;
export const CPU_LARGE_SEEN = 416;
export const CPU_MODE = 396;
export const CPU_NCR3 = 496;
export const CPU_NESTED_CONTROL = 508;
export const CPU_NESTED_MODE = 492;
export const CPU_NESTED_RESERVED = 368;
export const CPU_NESTED_ROOT = 388;
export const CPU_NESTED_TEST = 360;
export const CPU_NO_WALK_CACHE = 472;
export const CPU_NPT_ROOT = 504;
export const CPU_PKRS = 460;
export const CPU_PKRU = 456;
export const CPU_PML_ADDRESS = 520;
export const CPU_PML_INDEX = 516;
export const CPU_RESERVED = 352;
export const CPU_RFLAGS = 452;
export const CPU_ROOT = 384;
export const CPU_SECONDARY_CONTROLS = 512;
export const CPU_SHAPE = 392;
export const CPU_STRUCTURES_BASE = 552;
export const CPU_STRUCTURES_MASK = 556;
export const CPU_TABLES_GENERATION = 536;
export const CPU_TABLES_TAG = 544;
export const CPU_TEST = 344;
export const CPU_TLB_BASE = 268;
export const CPU_TLB_LARGE_BASE = 400;
export const CPU_TLB_LARGE_MASK = 404;
export const CPU_TLB_MASK = 272;
export const CPU_VPID = 464;
export const CPU_VPIDS_SEEN = 540;
export const CPU_WALKS_FOR = 564;
export const CPU_WALK_CACHE_BASE = 408;
export const CPU_WALK_CACHE_MASK = 412;
export const CR0_CD = 0x40000000n;
export const CR0_DEFINED = 0xe005003fn;
export const CR0_ET = 0x10n;
export const CR0_NW = 0x20000000n;
export const CR0_PE = 0x1n;
export const CR0_PG = 0x80000000n;
export const CR0_WP = 0x10000n;
export const CR3_NO_FLUSH = 0x8000000000000000n;
export const CR3_PCID = 0xfffn;
export const CR4_FSGSBASE = 0x10000n;
export const CR4_LA57 = 0x1000n;
export const CR4_OSXSAVE = 0x40000n;
export const CR4_PAE = 0x20n;
export const CR4_PCIDE = 0x20000n;
export const CR4_PGE = 0x80n;
export const CR4_PKE = 0x400000n;
export const CR4_PKS = 0x1000000n;
export const CR4_PSE = 0x10n;
export const CR4_SMAP = 0x200000n;
export const CR4_SMEP = 0x100000n;
export const CR4_VALID = 0x1773fffn;
export const CR4_VMXE = 0x2000n;
export const DEVICE_LOCK = 0;
export const DEVICE_MAX = 4;
export const DEVICE_PUTS = 16;
export const DEVICE_SHIFT = 5;
export const DEVICE_STATE = 4;
export const DIO_BASE = 0x3c00;
export const DIO_HANDLE = 256;
export const DIO_MAX = 8;
export const DIO_PAGES = 24;
export const DIO_PFNS = 32;
export const DIO_SHIFT = 7;
export const DRIVE_OFFSET_HOST_STATUS = 0xa7c;
export const DRIVE_OFFSET_STATUS = 0xa4c;
export const EFER_LMA = 0x400n;
export const EFER_LME = 0x100n;
export const EFER_NXE = 0x800n;
export const EFER_SCE = 0x1n;
export const ENDED = 0x1n;
export const EPTP_AD = 0x40n;
export const EPTP_LEVELS = 0x38n;
export const EPTP_MEMTYPE = 0x7n;
export const EPTP_WB_4LEVEL = 0x1en;
export const EPTP_WB_5LEVEL = 0x26n;
export const EPT_1G_RESERVED = 0x3ffff000n;
export const EPT_2M_RESERVED = 0x1ff000n;
export const EPT_A = 0x100n;
export const EPT_CAP_5LEVEL = 0x80n;
export const EPT_CAP_ADVANCED = 0x400000n;
export const EPT_CAP_EXECUTE_ONLY = 0x1n;
export const EPT_D = 0x200n;
export const EPT_IPAT = 0x40n;
export const EPT_MEMTYPE = 0x38n;
export const EPT_MEMTYPE_WB = 0x30n;
export const EPT_PML4E_RESERVED = 0xf8n;
export const EPT_PS = 0x80n;
export const EPT_R = 0x1n;
export const EPT_RWX = 0x7n;
export const EPT_SUPPRESS_VE = 0x8000000000000000n;
export const EPT_TABLE_RESERVED = 0x78n;
export const EPT_VIOLATION_FETCH = 4;
export const EPT_VIOLATION_FINAL = 256;
export const EPT_VIOLATION_GUEST_WRITABLE = 0x400;
export const EPT_VIOLATION_GUEST_XD = 0x800;
export const EPT_VIOLATION_LINEAR = 128;
export const EPT_VIOLATION_READ = 1;
export const EPT_VIOLATION_RIGHTS_SHIFT = 3;
export const EPT_VIOLATION_USER = 512;
export const EPT_VIOLATION_WRITE = 2;
export const EPT_VIOLATION_XU = 64;
export const EPT_W = 0x2n;
export const EPT_X = 0x4n;
export const EPT_XU = 0x400n;
export const FAULT_MANAGED = 0xf38;
export const FAULT_OFFSET_VALUE = 72;
export const FAULT_ROOT = 0xf3c;
export const FILE_DEVICE = 20;
export const FILE_HEAD_SIZE = 64;
export const FILE_INODE_LOCK = 12;
export const FILE_INVALIDATE_LOCK = 0;
export const FILE_KIND = 16;
export const FILE_PAGE_COUNT = 24;
export const FILE_PFNS = 64;
export const GATHER_MAX = 0x400;
export const GATHER_PFNS = 0x1000;
export const GPC_ACTIVE = 44;
export const GPC_COUNT = 8;
export const GPC_COUNTED = 52;
export const GPC_GENERATION = 32;
export const GPC_GPA = 16;
export const GPC_KHVA = 40;
export const GPC_LISTED = 56;
export const GPC_PFN = 36;
export const GPC_REFRESH_LOCK = 12;
export const GPC_SHIFT = 7;
export const GPC_UHVA = 24;
export const GPC_VALID = 48;
export const GRACE_GPC_READER = 152;
export const GRACE_INVALIDATE_READER = 156;
export const GRACE_MMAP_READER = 148;
export const GRACE_MMU_READER = 144;
export const GRACE_RCU = 132;
export const GRACE_RCU_DEPTH = 136;
export const GRACE_RMAP_READER = 160;
export const GRACE_SRCU = 128;
export const GRACE_SRCU_DEPTH = 140;
export const GUEST_BASE = 0x2800;
export const GUEST_DIRECT_MAP = 0xffff888000000000n;
export const GUEST_FRAME_CURSOR = 0x2808;
export const GUEST_RAM_MAX = 0x400000000000n;
export const GUEST_SHARED_SPACE = 0x2880;
export const GUEST_TABLE_CURSOR = 0x2800;
export const GUP_NO_REFERENCE = 0x20000000000n;
export const GUP_PIN_COUNTING_BIAS = 0x400;
export const GUP_WRITABLE = 0x10000000000n;
export const HEADER_ABORT = 0x1088;
export const HEADER_BASE = 0x1000;
export const HEADER_OFFSET_ABI_VERSION = 0x1004;
export const HEADER_OFFSET_ACTORS_BASE = 0x1050;
export const HEADER_OFFSET_BATCHES_BASE = 0x1068;
export const HEADER_OFFSET_BATCH_SIZE = 0x102c;
export const HEADER_OFFSET_BUILD = 0x1040;
export const HEADER_OFFSET_FILES_BASE = 0x10ac;
export const HEADER_OFFSET_FILE_MAX = 0x10a4;
export const HEADER_OFFSET_FILE_PAGES = 0x10a8;
export const HEADER_OFFSET_FRAMES_BASE = 0x1074;
export const HEADER_OFFSET_FRAME_COUNT = 0x1010;
export const HEADER_OFFSET_HISTOGRAMS_BASE = 0x1054;
export const HEADER_OFFSET_HOST_COUNT = 0x1018;
export const HEADER_OFFSET_MAXPHYADDR = 0x1038;
export const HEADER_OFFSET_OPTIONS = 0x1034;
export const HEADER_OFFSET_PAGES_BASE = 0x1070;
export const HEADER_OFFSET_PREFETCH_GROUP = 0x1048;
export const HEADER_OFFSET_PROFILE = 0x100c;
export const HEADER_OFFSET_REFCOUNT_LIMIT = 0x104c;
export const HEADER_OFFSET_RULES_OFF0 = 0x1078;
export const HEADER_OFFSET_RULES_OFF1 = 0x1080;
export const HEADER_OFFSET_SIZE = 0x1008;
export const HEADER_OFFSET_SLOTS_BASE = 0x1058;
export const HEADER_OFFSET_SLOT_MAX = 0x101c;
export const HEADER_OFFSET_SPIN_LIMIT = 0x1044;
export const HEADER_OFFSET_STRUCTURES_BASE = 0x10bc;
export const HEADER_OFFSET_STRUCTURE_ENTRIES = 0x10b8;
export const HEADER_OFFSET_TABLE_CACHES_BASE = 0x10b4;
export const HEADER_OFFSET_TABLE_CACHE_ENTRIES = 0x10b0;
export const HEADER_OFFSET_TLBS_BASE = 0x1060;
export const HEADER_OFFSET_TLB_ENTRIES = 0x1024;
export const HEADER_OFFSET_TLB_LARGE_ENTRIES = 0x1028;
export const HEADER_OFFSET_VCPU_COUNT = 0x1014;
export const HEADER_OFFSET_VMAS_BASE = 0x105c;
export const HEADER_OFFSET_VMA_MAX = 0x1020;
export const HEADER_OFFSET_WALK_CACHES_BASE = 0x1064;
export const HEADER_OFFSET_WALK_CACHE_ENTRIES = 0x103c;
export const HEADER_OFFSET_WINDOWS_BASE = 0x106c;
export const HEADER_OFFSET_WINDOW_COUNT = 0x1030;
export const HEADER_SIZE = 0x1000;
export const HEADER_STOP = 0x10a0;
export const HEADER_TRAP_ACTOR = 0x1090;
export const HEADER_TRAP_ARGUMENT = 0x1098;
export const HEADER_TRAP_CODE = 0x108c;
export const HISTOGRAM_BUCKETS = 0x4a0;
export const HISTOGRAM_OFFSET_COUNT = 0x2500;
export const HISTOGRAM_OFFSET_MAX = 0x2510;
export const HISTOGRAM_OFFSET_SUM = 0x2508;
export const HISTOGRAM_SIZE = 0x3000;
export const HISTOGRAM_SUB_SHIFT = 5;
export const INTEGRITY_OFFSET_ADDITIONS = 0xc38;
export const INTEGRITY_OFFSET_DISCARDED = 0xc08;
export const INTEGRITY_OFFSET_ERRORS = 0xc18;
export const INTEGRITY_OFFSET_EXPECTED = 0xc28;
export const INTEGRITY_OFFSET_FOUND = 0xc30;
export const INTEGRITY_OFFSET_GVA = 0xc20;
export const INTEGRITY_OFFSET_KEPT = 0xc10;
export const INTEGRITY_OFFSET_PASS = 0xc00;
export const INTEGRITY_OFFSET_SUM = 0xc40;
export const KVM_BASE = 0x2000;
export const KVM_CURRENT_ROOT = 0x218c;
export const KVM_DEFERRED_COUNT = 0x21a4;
export const KVM_DEFERRED_HEAD = 0x219c;
export const KVM_DEFERRED_LOCK = 0x21a0;
export const KVM_GENERATION = 0x2184;
export const KVM_GPCS = 0x2400;
export const KVM_GPC_LISTED = 0x2204;
export const KVM_GPC_LOCK = 0x2200;
export const KVM_INVALIDATE_ENDS = 0x209c;
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
export const MACHINE_SIZE_MAX = 0xf9990000n;
export const MAGIC = 0x554d4d47;
export const MAP_NO_PAGE = -1;
export const MEASURE_FAILED = 0xffffffffffffffffn;
export const MM_BASE = 0x3000;
export const MM_MMAP_BASE = 0x100000000000n;
export const MM_MMAP_LOCK = 0;
export const MM_MMAP_MIN = 0x10000n;
export const MM_NOTIFIERS = 136;
export const MM_NOTIFIER_SLOTS = 4;
export const MM_PGD = 128;
export const MM_RMAP_LOCK = 272;
export const MM_SIZE = 0x1000;
export const MM_TASK_SIZE = 0x7ffffffff000n;
export const MM_TLB_FLUSHES = 256;
export const MM_VMA_COUNT = 132;
export const MM_WRITE_PROTECT_SEQ = 156;
export const MM_ZERO_PFN = 152;
export const MODE_4LEVEL = 0xf3c;
export const MODE_5LEVEL = 0xf85;
export const MODE_EPT4 = 0x4f3c;
export const MODE_EPT5 = 0x4f85;
export const MODE_HOST = 0x8f3c;
export const MODE_NONE = 0;
export const MODE_NPT4 = 0x10f3c;
export const MODE_NPT5 = 0x10f85;
export const NOTE_NON_GLOBAL = 256;
export const NOTE_SPLIT = 256;
export const NPF_FINAL = 0x100000000n;
export const NPF_TABLE = 0x200000000n;
export const NP_ENABLE = 0x1n;
export const OBSTACLES_EPT = 0xe0n;
export const OBSTACLE_CLEAN = 0x10n;
export const OBSTACLE_EPT_CLEAN = 0x100n;
export const OBSTACLE_EPT_NO_FETCH = 0x80n;
export const OBSTACLE_EPT_NO_OTHER_FETCH = 0x400n;
export const OBSTACLE_EPT_NO_READ = 0x20n;
export const OBSTACLE_EPT_NO_WRITE = 0x40n;
export const OBSTACLE_READ_ONLY = 0x1n;
export const OBSTACLE_SUPERVISOR = 0x2n;
export const OBSTACLE_SUPERVISOR_KEYS = 0x20n;
export const OBSTACLE_USER = 0x8n;
export const OBSTACLE_USER_KEYS = 0x10n;
export const OBSTACLE_XD = 0x4n;
export const PAGE_EPOCH = 60;
export const PAGE_FLAGS = 8;
export const PAGE_HEAD = 20;
export const PAGE_INDEX = 32;
export const PAGE_LOCK = 28;
export const PAGE_MAPCOUNT = 4;
export const PAGE_MAPPING = 24;
export const PAGE_NEXT = 40;
export const PAGE_ORDER = 16;
export const PAGE_OWN = 56;
export const PAGE_PGMAP = 48;
export const PAGE_PINCOUNT = 12;
export const PAGE_PREVIOUS = 44;
export const PAGE_REFCOUNT = 0;
export const PAGE_RMAP = 52;
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 0x1000;
export const PAGE_STRUCT_SHIFT = 6;
export const PAGE_STRUCT_SIZE = 64;
export const PFERR_ID = 16;
export const PFERR_P = 1;
export const PFERR_PK = 32;
export const PFERR_RSVD = 8;
export const PFERR_US = 4;
export const PFERR_WR = 2;
export const PML_ENTRIES = 512;
export const POOL_ACCESS_LOCK = 0x694;
export const POOL_BATCH = 64;
export const POOL_GATHER_COUNT = 0x688;
export const POOL_LOAD_STATUS = 0x690;
export const POOL_READY = 0x6e0;
export const POOL_READY_COUNT = 0x680;
export const POOL_READY_MAX = 192;
export const POOL_TABLES = 0x6a0;
export const POOL_TABLES_MAX = 12;
export const POOL_TABLE_COUNT = 0x684;
export const POOL_VMA_HINT = 0x68c;
export const PREFETCH_GROUP_MAX = 8;
export const PROFILE_COUNT = 4;
export const PTE_1G_RESERVED = 0x3fffe000n;
export const PTE_2M_RESERVED = 0x1fe000n;
export const PTE_A = 0x20n;
export const PTE_ADDRESS = 0xffffffffff000n;
export const PTE_D = 0x40n;
export const PTE_DEVMAP = 0x400000000000000n;
export const PTE_G = 0x100n;
export const PTE_KEY_SHIFT = 0x3bn;
export const PTE_P = 0x1n;
export const PTE_PCD = 0x10n;
export const PTE_PROTNONE = 0x100n;
export const PTE_PS = 0x80n;
export const PTE_PWT = 0x8n;
export const PTE_RW = 0x2n;
export const PTE_SPECIAL = 0x200n;
export const PTE_US = 0x4n;
export const PTE_XD = 0x8000000000000000n;
export const RANGE_SENTINEL = 0xffffffffffffffffn;
export const REFCOUNT_LIMIT_DEFAULT = 0x7fff0000;
export const RFLAGS_AC = 0x40000n;
export const RFLAGS_FIXED = 0x2n;
export const RULE_COUNT = 53;
export const SCAN_BUDGET = 0x40000;
export const SCAN_ENTRIES = 16;
export const SCAN_GAP = 0x10n;
export const SCAN_NESTED_FAULT = 0x8n;
export const SCAN_NESTED_GAP = 0x20n;
export const SCAN_NESTED_RIGHTS_SHIFT = 0x18n;
export const SCAN_NESTED_SHIFT_SHIFT = 0x10n;
export const SCAN_NEXT = 0;
export const SCAN_OPEN_GVA = 24;
export const SCAN_OPEN_LENGTH = 48;
export const SCAN_ROWS = 640;
export const SCAN_ROW_COUNT = 84;
export const SCAN_ROW_SIZE = 48;
export const SCAN_SHIFT_SHIFT = 0x8n;
export const SCAN_SIZE = 128;
export const SCAN_USER = 0x2n;
export const SCAN_WANTED = 128;
export const SCAN_WANTED_COUNT = 92;
export const SCAN_WANTED_MAX = 64;
export const SCAN_WRITABLE = 0x1n;
export const SCAN_XD = 0x4n;
export const SECONDARY_MBEC = 0x400000n;
export const SECONDARY_PML = 0x20000n;
export const SLOTS_HEAD_SIZE = 64;
export const SLOT_BY_HVA_SHIFT = 4;
export const SLOT_OFFSET_BASE_GFN = 0;
export const SLOT_OFFSET_FLAGS = 28;
export const SLOT_OFFSET_HVA = 16;
export const SLOT_OFFSET_ID = 24;
export const SLOT_OFFSET_NPAGES = 8;
export const SLOT_SHIFT = 5;
export const SPIN_LIMIT_DEFAULT = 200;
export const SPTE_A = 0x100n;
export const SPTE_D = 0x200n;
export const SPTE_FROZEN = 0x800000000000000n;
export const SPTE_HOST_WRITABLE = 0x200000000000000n;
export const SPTE_IPAT = 0x40n;
export const SPTE_MEMTYPE_WB = 0x30n;
export const SPTE_MMU_WRITABLE = 0x400000000000000n;
export const SPTE_NONPRESENT = 0x0n;
export const SPTE_PS = 0x80n;
export const SPTE_R = 0x1n;
export const SPTE_SHADOW_PRESENT = 0x800n;
export const SPTE_W = 0x2n;
export const SPTE_X = 0x4n;
export const STAT_COUNT = 56;
export const STRUCTURE_CONTEXT = 8;
export const STRUCTURE_GENERATION = 28;
export const STRUCTURE_GUEST_PHYSICAL = 0x8n;
export const STRUCTURE_HOST = 24;
export const STRUCTURE_LEVEL = 0x7n;
export const STRUCTURE_SHIFT = 5;
export const STRUCTURE_TAG = 0;
export const STRUCTURE_VALUE = 16;
export const TABLE_ENTRY = 16;
export const TABLE_HOST = 24;
export const TABLE_LEVEL = 28;
export const TABLE_RIGHTS = 8;
export const TABLE_ROW_SHIFT = 5;
export const TABLE_SPAN_SHIFT = 21;
export const TABLE_TAG = 0;
export const TLB_ADDEND = 24;
export const TLB_CONTEXT = 8;
export const TLB_CONTEXT_EP4TA = 0xfffffffff0000000n;
export const TLB_CONTEXT_EP4TA_SHIFT = 0x1cn;
export const TLB_CONTEXT_PCID = 0xfffn;
export const TLB_CONTEXT_VPID = 0xffff000n;
export const TLB_CONTEXT_VPID_SHIFT = 0xcn;
export const TLB_ENTRY_SHIFT = 5;
export const TLB_GENERATION = 28;
export const TLB_RIGHTS = 16;
export const TLB_TAG = 0;
export const TRANSLATION_GLOBAL = 0x200n;
export const VCPU_MAP_ADDRESS = 16;
export const VCPU_MAP_COUNT = 4;
export const VCPU_MAP_SHIFT = 5;
export const VMA_NOT_COPIED = 0xf00;
export const VMA_OFFSET_END = 8;
export const VMA_OFFSET_FILE = 24;
export const VMA_OFFSET_FLAGS = 16;
export const VMA_OFFSET_PAGE_SHIFT = 20;
export const VMA_OFFSET_PGOFF = 28;
export const VMA_OFFSET_START = 0;
export const VMA_PROTECTION = 7;
export const VMA_SHIFT = 5;
export const WALK_CACHE_ENTRY_SHIFT = 4;
export const WALK_CACHE_FLAGS = 0xc000000000000000n;
export const WALK_CACHE_GENERATION = 12;
export const WALK_CACHE_HOST = 8;
export const WALK_CACHE_ROOT = 0xfff0000000000fffn;
export const WALK_CACHE_TAG = 0;
export const WALK_ERROR = 0x408;
export const WALK_GPA = 0x418;
export const WALK_GVA = 0x410;
export const WALK_NESTED_MODE = 0x434;
export const WALK_OFFSET_ERROR = 8;
export const WALK_OFFSET_GPA = 24;
export const WALK_OFFSET_GVA = 16;
export const WALK_OFFSET_OUTCOME = 0;
export const WALK_OFFSET_PA = 32;
export const WALK_OFFSET_RIGHTS = 40;
export const WALK_OFFSET_SHIFT = 48;
export const WALK_OFFSET_STEPS = 4;
export const WALK_OUTCOME = 0x400;
export const WALK_PA = 0x420;
export const WALK_RIGHTS = 0x428;
export const WALK_SHIFT = 0x430;
export const WALK_STEPS = 0x440;
export const WALK_STEP_COUNT = 0x404;
export const WALK_STEP_MAX = 35;
export const WALK_STEP_NESTED = 0x8n;
export const WALK_STEP_SHIFT = 4;
export const WINDOW_HOST = 8;
export const WINDOW_KEY = 0;
export const WINDOW_ROW_SHIFT = 4;
export const WINDOW_USED = 12;
export const ZONE_BASE = 0x3180;
export const ZONE_FREE = 0x31c0;
export const ZONE_LISTS = 0x3200;
export const ZONE_LOCK = 0x3180;
export const ZONE_MANAGED = 0x31c4;
export const ZONE_ORDERS = 11;

export const Access = {
  Read: 0,
  Write: 1,
  Fetch: 2,
  Modify: 3,
  ImplicitRead: 4,
  ImplicitWrite: 5,
  StackRead: 6,
  StackWrite: 7,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

export const Activity = {
  Run: 0,
  Populate: 1,
  Cycle: 2,
} as const;
export type Activity = (typeof Activity)[keyof typeof Activity];

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

export const Build = {
  Release: 0,
  Lab: 1,
  Embed: 2,
} as const;
export type Build = (typeof Build)[keyof typeof Build];

export const DeviceState = {
  None: 0,
  Live: 1,
  Dying: 2,
} as const;
export type DeviceState = (typeof DeviceState)[keyof typeof DeviceState];

export const DioState = {
  Free: 0,
  Claimed: 1,
  Ready: 2,
} as const;
export type DioState = (typeof DioState)[keyof typeof DioState];

export const DriveStatus = {
  Ok: 0,
  Stopped: 1,
  Interrupted: 2,
  OutOfFrames: 3,
  HostFault: 4,
  GuestOutOfMemory: 5,
  Finished: 6,
  Unsupported: 7,
  HostRefused: 8,
} as const;
export type DriveStatus = (typeof DriveStatus)[keyof typeof DriveStatus];

export const FaultResult = {
  Fixed: 0,
  Spurious: 1,
  RetryCount: 2,
  RetrySeq: 3,
  RetryRoot: 4,
  RetryRace: 5,
  Mmio: 6,
  HostFault: 7,
  OutOfFrames: 8,
  Continue: 9,
} as const;
export type FaultResult = (typeof FaultResult)[keyof typeof FaultResult];

export const FileKind = {
  None: 0,
  Cached: 1,
  Dax: 2,
  Closing: 3,
} as const;
export type FileKind = (typeof FileKind)[keyof typeof FileKind];

export const Flush = {
  All: 0,
  NonGlobal: 1,
  Vpid: 2,
  Ept: 3,
} as const;
export type Flush = (typeof Flush)[keyof typeof Flush];

export const Fold = {
  None: 0,
  Physical: 1,
  Rights: 2,
} as const;
export type Fold = (typeof Fold)[keyof typeof Fold];

export const FollFlag = {
  Write: 1,
  Pin: 2,
  Longterm: 4,
} as const;
export type FollFlag = (typeof FollFlag)[keyof typeof FollFlag];

export const GuestMapping = {
  Identity: 0,
  Offset: 1,
  Random: 2,
  FirstTouch: 3,
} as const;
export type GuestMapping = (typeof GuestMapping)[keyof typeof GuestMapping];

export const GuestOption = {
  Smep: 1,
  Smap: 2,
  LazyAccessedDirty: 4,
} as const;
export type GuestOption = (typeof GuestOption)[keyof typeof GuestOption];

export const GuestStatus = {
  Ok: 0,
  Interrupted: 1,
  OutOfMemory: 2,
  BadAddress: 3,
  Exists: 4,
  Unsupported: 5,
  HostError: 6,
} as const;
export type GuestStatus = (typeof GuestStatus)[keyof typeof GuestStatus];

export const HostStatus = {
  Ok: 0,
  NoVma: 1,
  Access: 2,
  OutOfFrames: 3,
  Invalid: 4,
  TooManyVmas: 5,
  Overlap: 6,
  NoRange: 7,
  RefcountLimit: 8,
  Busy: 9,
  Pfnmap: 10,
  Device: 11,
  BeyondEnd: 16,
  NoFile: 17,
  FileTooLarge: 18,
  TooManyFiles: 19,
  NoBlocks: 20,
  LongtermRefused: 22,
} as const;
export type HostStatus = (typeof HostStatus)[keyof typeof HostStatus];

export const KvmStatus = {
  Ok: 0,
  NoSlot: 1,
  ReadOnly: 2,
  HostFault: 3,
  OutOfFrames: 4,
  Invalid: 5,
  Busy: 6,
  Inactive: 7,
  Refused: 8,
} as const;
export type KvmStatus = (typeof KvmStatus)[keyof typeof KvmStatus];

export const LockKind = {
  Spin: 0,
  RwLock: 1,
  Sleeping: 2,
} as const;
export type LockKind = (typeof LockKind)[keyof typeof LockKind];

export const MachineOption = {
  ZeroPages: 1,
  Poison: 2,
  SpinOnRetry: 4,
  EptAccessedDirty: 8,
  Page1GB: 16,
  HugePages: 32,
  ArchitecturalTlb: 128,
  SharedZeroPage: 64,
} as const;
export type MachineOption = (typeof MachineOption)[keyof typeof MachineOption];

export const MapFlag = {
  ReadOnly: 1,
  Unsafe: 2,
} as const;
export type MapFlag = (typeof MapFlag)[keyof typeof MapFlag];

export const MapHold = {
  None: 0,
  Reference: 1,
  Pin: 2,
} as const;
export type MapHold = (typeof MapHold)[keyof typeof MapHold];

export const Measure = {
  Walk: 0,
  NestedWalk: 1,
  TlbLoad: 2,
  Tables: 3,
} as const;
export type Measure = (typeof Measure)[keyof typeof Measure];

export const Modify = {
  Exchange: 0,
  Add: 1,
  And: 2,
  Or: 3,
  Xor: 4,
  CompareExchange: 5,
} as const;
export type Modify = (typeof Modify)[keyof typeof Modify];

export const Note = {
  NotifyStart: 1,
  NotifyStarted: 2,
  NotifyEnd: 3,
  HostLeaf: 4,
  HostFlush: 5,
  PageAlloc: 6,
  PageFree: 7,
  PageGet: 8,
  PagePut: 9,
  SpteLeaf: 10,
  SpteLink: 11,
  TableAlloc: 12,
  TableFree: 13,
  TlbFill: 14,
  TlbFlush: 15,
  TlbDrop: 16,
  GuestUse: 17,
  GuestEnter: 18,
  GuestExit: 19,
  FlushBegin: 20,
  FlushDone: 21,
  LockWanted: 22,
  LockTaken: 23,
  LockDropped: 24,
  MaySleep: 25,
  ReadEnter: 26,
  ReadLeave: 27,
  InProgress: 28,
  ActiveCount: 29,
  Range: 30,
  MapTaken: 31,
  MapUse: 32,
  MapDropped: 33,
  GpcValid: 34,
  GpcInvalid: 35,
  GpcUse: 36,
  MetaUse: 37,
  FileAdd: 38,
  FileRemove: 39,
  DmaUse: 40,
  SlotsPublished: 41,
  SlotDeleted: 42,
  RootInvalid: 43,
  RootLoaded: 44,
  PageDirty: 45,
  AtomicBegin: 46,
  AtomicEnd: 47,
  PinTaken: 48,
  PinDropped: 49,
  PgmapGone: 50,
  HostUse: 51,
} as const;
export type Note = (typeof Note)[keyof typeof Note];

export const Notifier = {
  None: 0,
  Kvm: 1,
} as const;
export type Notifier = (typeof Notifier)[keyof typeof Notifier];

export const NotifyEvent = {
  Unmap: 0,
  Clear: 1,
  ProtectionVma: 2,
  ProtectionPage: 3,
} as const;
export type NotifyEvent = (typeof NotifyEvent)[keyof typeof NotifyEvent];

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
  AlignmentCheck: 11,
  NestedPageFault: 12,
  PmlFull: 13,
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
  RootInvalid: 0x400,
  ZoneDevice: 0x800,
  Zero: 0x1000,
  AnonExclusive: 0x2000,
  NotRefcounted: 0x4000,
} as const;
export type PageFlag = (typeof PageFlag)[keyof typeof PageFlag];

export const Profile = {
  V5_4: 0,
  V6_13: 1,
  V5_3: 2,
  V6_15: 3,
} as const;
export type Profile = (typeof Profile)[keyof typeof Profile];

export const Register = {
  Cr0: 0,
  Cr3: 1,
  Cr4: 2,
  Efer: 3,
  Rflags: 4,
  Cpl: 5,
  Pkru: 6,
  Pkrs: 7,
  Eptp: 8,
  Vpid: 9,
  NestedControl: 10,
  Ncr3: 11,
  SecondaryControls: 12,
  PmlAddress: 13,
  PmlIndex: 14,
  EptVpidCap: 15,
} as const;
export type Register = (typeof Register)[keyof typeof Register];

export const RegisterWrite = {
  Ok: 0,
  GeneralProtection: 1,
  Unsupported: 2,
  VmFail: 3,
} as const;
export type RegisterWrite = (typeof RegisterWrite)[keyof typeof RegisterWrite];

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
  VcpuMapHoldsReference: 34,
  VcpuMapPins: 35,
  UnmapChecksPage: 36,
  UnmapMarksDirty: 37,
  ZoneDeviceNotReserved: 38,
  ZeroPageNotReserved: 39,
  PfnmapNotRefcounted: 40,
  PfnmapHonoursWrite: 41,
  RefcountOverflowRefused: 42,
  GupRechecksHead: 43,
  DaxTruncateWaitsIdle: 44,
  LongtermRefusedOnDax: 45,
  PrefetchSkipsOpenRange: 46,
  GpcRetriesOnActiveCount: 47,
  GpcRefreshSerialised: 48,
  GpcActiveChecked: 49,
  GpcHeldWhileUsed: 50,
  SeqCountBarriers: 51,
  SnapshotBarrier: 52,
  EntryBarrier: 53,
} as const;
export type Rule = (typeof Rule)[keyof typeof Rule];

export const ScanResult = {
  Done: 0,
  More: 1,
  Missing: 2,
} as const;
export type ScanResult = (typeof ScanResult)[keyof typeof ScanResult];

export const Shape = {
  None: 0,
  Guest: 1,
  Nested: 2,
  Both: 3,
} as const;
export type Shape = (typeof Shape)[keyof typeof Shape];

export const SlotFlag = {
  ReadOnly: 2,
  Invalid: 0x10000,
} as const;
export type SlotFlag = (typeof SlotFlag)[keyof typeof SlotFlag];

export const SlotStatus = {
  Ok: 0,
  Overlap: 1,
  Full: 2,
  Unknown: 3,
  Immutable: 4,
} as const;
export type SlotStatus = (typeof SlotStatus)[keyof typeof SlotStatus];

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
  Prefetched: 30,
} as const;
export type Stat = (typeof Stat)[keyof typeof Stat];

export const Switch = {
  MmuRwLock: 1,
  RangeRetry: 2,
  BeginOnlyOnOverlap: 4,
  PreCheck: 8,
  ZoneDeviceReserved: 16,
  DaxIdleZero: 32,
  VcpuMapPins: 64,
  PfnmapRefcounted: 128,
  LevelFromVma: 256,
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
  TableCacheEmpty: 13,
  MapcountUnderflow: 14,
  RootUnderflow: 15,
  DoubleFree: 16,
  GatherOverflow: 17,
  GetOfFreePage: 18,
  WouldWait: 19,
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
  File: 256,
  Dax: 512,
  Pfnmap: 0x400,
  Hugetlb: 0x800,
} as const;
export type VmaFlag = (typeof VmaFlag)[keyof typeof VmaFlag];

export const Workload = {
  Sequential: 0,
  Uniform: 1,
  Zipf: 2,
  Chase: 3,
  Shifting: 4,
} as const;
export type Workload = (typeof Workload)[keyof typeof Workload];

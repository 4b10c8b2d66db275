// Offsets within the structures that TypeScript reads or writes directly.
import { HEADER_BASE, Header } from "./header";
import { Slot } from "./slot";
import { Vma } from "./mm";
import { Walk } from "./walk";

export const HEADER_OFFSET_ABI_VERSION: usize = HEADER_BASE + offsetof<Header>("abiVersion");
export const HEADER_OFFSET_SIZE: usize = HEADER_BASE + offsetof<Header>("size");
export const HEADER_OFFSET_PROFILE: usize = HEADER_BASE + offsetof<Header>("profile");
export const HEADER_OFFSET_FRAME_COUNT: usize = HEADER_BASE + offsetof<Header>("frameCount");
export const HEADER_OFFSET_VCPU_COUNT: usize = HEADER_BASE + offsetof<Header>("vcpuCount");
export const HEADER_OFFSET_HOST_COUNT: usize = HEADER_BASE + offsetof<Header>("hostCount");
export const HEADER_OFFSET_SLOT_MAX: usize = HEADER_BASE + offsetof<Header>("slotMax");
export const HEADER_OFFSET_VMA_MAX: usize = HEADER_BASE + offsetof<Header>("vmaMax");
export const HEADER_OFFSET_TLB_ENTRIES: usize = HEADER_BASE + offsetof<Header>("tlbEntries");
export const HEADER_OFFSET_TLB_LARGE_ENTRIES: usize = HEADER_BASE + offsetof<Header>("tlbLargeEntries");
export const HEADER_OFFSET_BATCH_SIZE: usize = HEADER_BASE + offsetof<Header>("batchSize");
export const HEADER_OFFSET_WINDOW_COUNT: usize = HEADER_BASE + offsetof<Header>("windowCount");
export const HEADER_OFFSET_OPTIONS: usize = HEADER_BASE + offsetof<Header>("options");
export const HEADER_OFFSET_MAXPHYADDR: usize = HEADER_BASE + offsetof<Header>("maxphyaddr");
export const HEADER_OFFSET_WALK_CACHE_ENTRIES: usize = HEADER_BASE + offsetof<Header>("walkCacheEntries");
export const HEADER_OFFSET_BUILD: usize = HEADER_BASE + offsetof<Header>("build");
export const HEADER_OFFSET_SPIN_LIMIT: usize = HEADER_BASE + offsetof<Header>("spinLimit");
export const HEADER_OFFSET_ACTORS_BASE: usize = HEADER_BASE + offsetof<Header>("actorsBase");
export const HEADER_OFFSET_HISTOGRAMS_BASE: usize = HEADER_BASE + offsetof<Header>("histogramsBase");
export const HEADER_OFFSET_SLOTS_BASE: usize = HEADER_BASE + offsetof<Header>("slotsBase");
export const HEADER_OFFSET_BATCHES_BASE: usize = HEADER_BASE + offsetof<Header>("batchesBase");
export const HEADER_OFFSET_WINDOWS_BASE: usize = HEADER_BASE + offsetof<Header>("windowsBase");
export const HEADER_OFFSET_FILE_MAX: usize = HEADER_BASE + offsetof<Header>("fileMax");
export const HEADER_OFFSET_FILE_PAGES: usize = HEADER_BASE + offsetof<Header>("filePages");
export const HEADER_OFFSET_FILES_BASE: usize = HEADER_BASE + offsetof<Header>("filesBase");
export const HEADER_OFFSET_VMAS_BASE: usize = HEADER_BASE + offsetof<Header>("vmasBase");
export const HEADER_OFFSET_PAGES_BASE: usize = HEADER_BASE + offsetof<Header>("pagesBase");
export const HEADER_OFFSET_FRAMES_BASE: usize = HEADER_BASE + offsetof<Header>("framesBase");
export const HEADER_OFFSET_RULES_OFF0: usize = HEADER_BASE + offsetof<Header>("rulesOff0");
export const HEADER_OFFSET_RULES_OFF1: usize = HEADER_BASE + offsetof<Header>("rulesOff1");

export const SLOT_OFFSET_BASE_GFN: usize = offsetof<Slot>("baseGfn");
export const SLOT_OFFSET_NPAGES: usize = offsetof<Slot>("npages");
export const SLOT_OFFSET_HVA: usize = offsetof<Slot>("hva");
export const SLOT_OFFSET_ID: usize = offsetof<Slot>("id");
export const SLOT_OFFSET_FLAGS: usize = offsetof<Slot>("flags");

export const WALK_OFFSET_OUTCOME: usize = offsetof<Walk>("outcome");
export const WALK_OFFSET_ERROR: usize = offsetof<Walk>("error");
export const WALK_OFFSET_GVA: usize = offsetof<Walk>("gva");
export const WALK_OFFSET_GPA: usize = offsetof<Walk>("gpa");
export const WALK_OFFSET_PA: usize = offsetof<Walk>("pa");
export const WALK_OFFSET_SHIFT: usize = offsetof<Walk>("shift");
export const WALK_OFFSET_STEPS: usize = offsetof<Walk>("steps");
export const WALK_OFFSET_RIGHTS: usize = offsetof<Walk>("rights");

export const VMA_OFFSET_START: usize = offsetof<Vma>("start");
export const VMA_OFFSET_END: usize = offsetof<Vma>("end");
export const VMA_OFFSET_FLAGS: usize = offsetof<Vma>("flags");
export const VMA_OFFSET_PAGE_SHIFT: usize = offsetof<Vma>("pageShift");
export const VMA_OFFSET_FILE: usize = offsetof<Vma>("file");
export const VMA_OFFSET_PGOFF: usize = offsetof<Vma>("pgoff");

/** The scenarios of the package. */

import { type Scenario } from "../explore/scenario.js";
import {
  faultMetadata,
  faultTranslations,
  mapUse,
  referenceVsInvalidation,
  retryMatrix,
} from "./claims-of-2019.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";
import { faultVsSlotDelete } from "./fault-vs-slot-delete.js";
import { faultsSideBySide } from "./faults-side-by-side.js";
import { flushVsStructures } from "./architectural-tlb.js";
import { flushVsGuest } from "./flush-vs-guest.js";
import {
  graceVsReader,
  hardwareDirtyFlagVsZap,
  hardwareWalkVsDontneed,
  hardwareWalkVsDontneedForgetful,
  hardwareWalkVsHugeLeaf,
  hardwareWalkVsSlotDelete,
  hardwareWalkVsSlotDeleteForgetful,
} from "./hardware-walker.js";
import { gupVsReuse } from "./gup-vs-reuse.js";
import { hugeLeafOverTable } from "./huge-leaf-over-table.js";
import { lookupVsSlotDelete } from "./lookup-vs-slot-delete.js";
import { cacheRefreshWeak, faultVsDontneedWeak, flushVsGuestTso } from "./memory-models.js";
import { prefetchVsDontneed } from "./prefetch-vs-dontneed.js";
import { readVsSlotDelete } from "./read-vs-slot-delete.js";
import {
  scaleThreeVcpusThreePages,
  scaleTwoVcpusOnePage,
  scaleTwoVcpusTwoHosts,
  scaleTwoVcpusTwoPages,
} from "./scale.js";
import { slotAddVsDontneed } from "./slot-add-vs-dontneed.js";
import { slotDeleteVsDontneed } from "./slot-delete-vs-dontneed.js";
import { twoInvalidations } from "./two-invalidations.js";
import { twoSlotsZapped } from "./two-slots-zapped.js";
import { walkerVsSlotDelete } from "./walker-vs-slot-delete.js";
import { yieldVsDontneed } from "./yield-vs-dontneed.js";
import { zapVsDirtyFlag } from "./zap-vs-dirty-flag.js";
import { faultVsSplit } from "./fault-vs-split.js";
import {
  cachedFaultVsTruncate,
  cachedMapVsTruncate,
  daxDirectIo,
  daxFaultVsTruncate,
  daxFaultVsWaitingTruncate,
  daxGupVsTruncate,
  daxLongtermPin,
  daxMapKept,
  daxMapVsTruncate,
} from "./host-files.js";
import { hugetlbRemap } from "./host-hugetlb-remap.js";
import { gupVsSplit, refcountLimit, zeroPageFaults } from "./host-references.js";
import { remappedFault, remappedMap, remappedReadOnly } from "./host-remapped.js";
import {
  cacheDeactivated,
  cacheMovedInRefresh,
  cacheRefreshVsDontneed,
  cacheUseVsDontneed,
} from "./users-pfn-cache.js";
import { vcpuMapHardware, vcpuMapOfDevice, vcpuMapVsDontneed, vcpuMapVsFork } from "./users-vcpu-map.js";

/** All scenarios, by name. */
export const SCENARIOS: readonly Scenario[] = (
  [
    faultVsDontneed,
    faultVsSlotDelete,
    faultsSideBySide,
    flushVsGuest,
    flushVsStructures,
    graceVsReader,
    gupVsReuse,
    hardwareDirtyFlagVsZap,
    hardwareWalkVsDontneed,
    hardwareWalkVsDontneedForgetful,
    hardwareWalkVsHugeLeaf,
    hardwareWalkVsSlotDelete,
    hardwareWalkVsSlotDeleteForgetful,
    hugeLeafOverTable,
    lookupVsSlotDelete,
    cacheRefreshWeak,
    faultVsDontneedWeak,
    flushVsGuestTso,
    prefetchVsDontneed,
    readVsSlotDelete,
    scaleThreeVcpusThreePages,
    scaleTwoVcpusOnePage,
    scaleTwoVcpusTwoHosts,
    scaleTwoVcpusTwoPages,
    slotAddVsDontneed,
    slotDeleteVsDontneed,
    twoInvalidations,
    twoSlotsZapped,
    walkerVsSlotDelete,
    yieldVsDontneed,
    zapVsDirtyFlag,
    faultVsSplit,
    cachedFaultVsTruncate,
    cachedMapVsTruncate,
    daxDirectIo,
    daxFaultVsTruncate,
    daxFaultVsWaitingTruncate,
    daxGupVsTruncate,
    daxLongtermPin,
    daxMapKept,
    daxMapVsTruncate,
    hugetlbRemap,
    gupVsSplit,
    refcountLimit,
    zeroPageFaults,
    remappedFault,
    remappedMap,
    remappedReadOnly,
    cacheDeactivated,
    cacheMovedInRefresh,
    cacheRefreshVsDontneed,
    cacheUseVsDontneed,
    vcpuMapHardware,
    vcpuMapOfDevice,
    vcpuMapVsDontneed,
    vcpuMapVsFork,
    faultMetadata,
    faultTranslations,
    mapUse,
    referenceVsInvalidation,
    retryMatrix,
  ] as readonly Scenario[]
).toSorted((a, b) => (a.name < b.name ? -1 : 1));

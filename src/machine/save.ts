/**
 * A machine as bytes: its memory without the pages that are zero. Little-endian.
 *
 *      0  magic      "GMMUSAVE"
 *      8  format     1                          (u32)
 *     12  abi        ABI_VERSION of the core    (u32)
 *     16  size       bytes of the memory        (u32)
 *     20  pages      pages that follow          (u32)
 *     24  ...        zero up to 32
 *     32  bitmap     one bit a page of the memory, lowest first, padded to 16 bytes: 1 for a page that follows
 *         pages      4 KiB each, in ascending order
 *         checksum   XXH32 of everything before (u32)
 *
 * Not compressed: an embedder has a compressor of its own (gzipSync in Node, CompressionStream elsewhere), and pages of
 * a guest that has just been set up compress well.
 */

import {
  ABI_VERSION,
  CONTROL_MODE,
  DEVICE_LOCK,
  DEVICE_MAX,
  DEVICE_SHIFT,
  DEVICE_STATE,
  DIO_BASE,
  DIO_MAX,
  DIO_SHIFT,
  DeviceState,
  DioState,
  FILE_HEAD_SIZE,
  FILE_INODE_LOCK,
  FILE_INVALIDATE_LOCK,
  FILE_KIND,
  FileKind,
  GRACE_INVALIDATE_READER,
  GPC_COUNT,
  GPC_REFRESH_LOCK,
  GPC_SHIFT,
  GRACE_GPC_READER,
  GRACE_MMAP_READER,
  GRACE_MMU_READER,
  GRACE_RCU,
  GRACE_RMAP_READER,
  GRACE_SRCU,
  HEADER_ABORT,
  HEADER_BASE,
  HEADER_OFFSET_FILES_BASE,
  HEADER_OFFSET_SIZE,
  HEADER_SIZE,
  HEADER_STOP,
  KVM_DEFERRED_LOCK,
  KVM_GPCS,
  KVM_GPC_LOCK,
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_MMU_LOCK,
  KVM_MN_ACTIVE_COUNT,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ARCH_LOCK,
  KVM_SLOTS_LOCK,
  MACHINE_SIZE_MAX,
  MM_BASE,
  MM_MMAP_LOCK,
  MM_RMAP_LOCK,
  PAGE_SIZE,
  VcpuMode,
  ZONE_LOCK,
} from "../core/layout.generated.js";
import { readTrap, TRAP_SENTENCES } from "../core/trap.js";
import { GuestMmuError } from "../errors.js";
import { Checksum } from "./checksum.js";
import { type MachineState } from "./state.js";

const MAGIC = "GMMUSAVE";
const FORMAT = 1;
const HEAD_SIZE = 32;

/** Locks of the pfn caches, with what it means if one is held. */
function gpcLocks(): (readonly [address: number, busy: string])[] {
  return Array.from({ length: GPC_COUNT }, (_, i) => KVM_GPCS + (i << GPC_SHIFT)).flatMap((gpc, i) => [
    [gpc, `the lock of pfn cache ${i} is held`] as const,
    [gpc + GPC_REFRESH_LOCK, `pfn cache ${i} is being refreshed`] as const,
  ]);
}

/** Words that are 0 while nobody acts, and what it means if they are not. */
const REST: readonly (readonly [address: number, busy: string])[] = [
  [KVM_MMU_LOCK, "mmu_lock is held"],
  [KVM_MN_INVALIDATE_LOCK, "mn_invalidate_lock is held"],
  [KVM_SLOTS_LOCK, "slots_lock is held"],
  [KVM_SLOTS_ARCH_LOCK, "slots_arch_lock is held"],
  [KVM_DEFERRED_LOCK, "the list of deferred frees is locked"],
  [KVM_GPC_LOCK, "gpc_lock is held"],
  ...gpcLocks(),
  [KVM_MN_ACTIVE_COUNT, "an invalidation is open"],
  [KVM_INVALIDATE_IN_PROGRESS, "an invalidation is open"],
  [MM_BASE + MM_MMAP_LOCK, "mmap_lock is held"],
  [MM_BASE + MM_RMAP_LOCK, "the rmap lock is held"],
  [ZONE_LOCK, "zone.lock is held"],
];

/** Refuses a machine that somebody acts in, or whose invariants no longer hold. */
export function checkAtRest(state: MachineState, what: string): void {
  const trap = readTrap(state.view);
  if (trap) {
    throw new GuestMmuError("CORE_TRAP", {
      message: `${what} is refused: the machine trapped. ${TRAP_SENTENCES[trap.name].sentence}.`,
      hint: "What is left of it is not a state that a machine can go on from.",
    });
  }
  const busy = whyBusy(state);
  if (!busy) return;
  throw new GuestMmuError("MACHINE_BUSY", {
    message: `${what} is refused: ${busy}.`,
    hint: "Stop the threads that act in the machine, and end what machine.lab has begun.",
  });
}

/** What is under way in files, devices and transfers. */
function whyFilesBusy(state: MachineState): string | null {
  const { u32, configuration } = state;
  const held = (address: number): boolean => Atomics.load(u32, address / 4) !== 0;
  for (let i = 0; i < DIO_MAX; i++) {
    if (Atomics.load(u32, (DIO_BASE + (i << DIO_SHIFT)) / 4) === DioState.Claimed)
      return "direct I/O begins or ends";
  }
  if (configuration.files === 0) return null;
  const base = state.view.getUint32(HEADER_OFFSET_FILES_BASE, true);
  for (let i = 0; i < DEVICE_MAX; i++) {
    const device = base + (i << DEVICE_SHIFT);
    if (held(device + DEVICE_LOCK)) return `the lock of device ${i + 1} is held`;
    if (Atomics.load(u32, (device + DEVICE_STATE) / 4) === DeviceState.Dying)
      return `device ${i + 1} is being taken away`;
  }
  const size = Math.ceil((FILE_HEAD_SIZE + 4 * configuration.filePages) / 64) * 64;
  for (let i = 0; i < configuration.files; i++) {
    const file = base + (DEVICE_MAX << DEVICE_SHIFT) + i * size;
    if (held(file + FILE_INVALIDATE_LOCK)) return `the invalidate lock of file ${i + 1} is held`;
    if (held(file + FILE_INODE_LOCK)) return `file ${i + 1} is written or truncated`;
    if (Atomics.load(u32, (file + FILE_KIND) / 4) === FileKind.Closing)
      return `file ${i + 1} is being taken away`;
  }
  return null;
}

function whyBusy(state: MachineState): string | null {
  const { u32, configuration } = state;
  for (const [address, busy] of REST) if (Atomics.load(u32, address / 4) !== 0) return busy;
  const files = whyFilesBusy(state);
  if (files !== null) return files;
  for (let i = 0; i < configuration.vcpus + configuration.hostThreads; i++) {
    const block = state.actorBlock(i);
    const name = i < configuration.vcpus ? `vCPU ${i}` : `host thread ${i - configuration.vcpus}`;
    const mode = Atomics.load(u32, (block + CONTROL_MODE) / 4);
    if (mode !== VcpuMode.OutsideGuest) return `${name} is in guest mode`;
    if (Atomics.load(u32, (block + GRACE_SRCU) / 4) !== 0) return `${name} is in an SRCU section`;
    if (Atomics.load(u32, (block + GRACE_RCU) / 4) !== 0) return `${name} is in an RCU section`;
    if (Atomics.load(u32, (block + GRACE_MMU_READER) / 4) !== 0) return `${name} holds mmu_lock for read`;
    if (Atomics.load(u32, (block + GRACE_GPC_READER) / 4) !== 0) return `${name} uses a pfn cache`;
    if (Atomics.load(u32, (block + GRACE_MMAP_READER) / 4) !== 0) return `${name} holds mmap_lock for read`;
    if (Atomics.load(u32, (block + GRACE_INVALIDATE_READER) / 4) !== 0)
      return `${name} holds a file's invalidate lock for read`;
    if (Atomics.load(u32, (block + GRACE_RMAP_READER) / 4) !== 0)
      return `${name} holds the rmap lock for read`;
  }
  return null;
}

/** Pages of the memory that are not all zero, by number. */
export function nonZeroPages(u64: BigUint64Array, size: number): number[] {
  const pages: number[] = [];
  const words = PAGE_SIZE / 8;
  for (let page = 0, count = Math.ceil(size / PAGE_SIZE); page < count; page++) {
    for (let i = page * words, end = i + words; i < end; i++) {
      if (u64[i] !== 0n) {
        pages.push(page);
        break;
      }
    }
  }
  return pages;
}

const align16 = (bytes: number): number => (bytes + 15) & ~15;

/** The machine, which is at rest, as bytes. */
export function encodeMachine(state: MachineState): Uint8Array {
  const pages = nonZeroPages(state.u64, state.size);
  const bitmapSize = align16(Math.ceil(Math.ceil(state.size / PAGE_SIZE) / 8));
  const total = HEAD_SIZE + bitmapSize + pages.length * PAGE_SIZE + 4;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(total);
  } catch (cause) {
    throw new GuestMmuError("UNSUPPORTED", {
      message: `The saved machine would have ${total} bytes, more than this platform allows in one array.`,
      hint: "Unmap what the guest does not need (madviseDontneed), or save on a platform with more memory.",
      cause,
    });
  }
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, FORMAT, true);
  view.setUint32(12, ABI_VERSION, true);
  view.setUint32(16, state.size, true);
  view.setUint32(20, pages.length, true);
  let at = HEAD_SIZE + bitmapSize;
  for (const page of pages) {
    bytes[HEAD_SIZE + (page >>> 3)]! |= 1 << (page & 7);
    bytes.set(state.u8.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), at);
    at += PAGE_SIZE;
  }
  const checksum = new Checksum();
  checksum.update(bytes.subarray(0, at));
  view.setUint32(at, checksum.digest(), true);
  return bytes;
}

/** A saved machine whose outside has been checked: pages to be put into a memory. */
export interface SavedMachine {
  readonly size: number;
  readonly pages: readonly number[];
  readonly contents: Uint8Array;
  /** The header page of the machine, at its address in the memory. */
  readonly header: DataView;
}

function unusable(
  message: string,
  hint = "Save the machine again; the bytes have to be kept whole.",
): GuestMmuError {
  return new GuestMmuError("SAVE_INVALID", { message, hint });
}

/** Checks bytes from outside to be a saved machine of this version, whole and undamaged. Throws `SAVE_INVALID`. */
export function decodeMachine(bytes: Uint8Array): SavedMachine {
  if (!(bytes instanceof Uint8Array))
    throw unusable("The saved machine is not a Uint8Array.", "Pass what save() returned.");
  if (bytes.length < HEAD_SIZE) throw unusable(`${bytes.length} bytes are too few for a saved machine.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (String.fromCharCode(...bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    throw unusable(
      "The bytes do not begin as a saved machine does.",
      "Pass what save() returned, not compressed.",
    );
  }
  const format = view.getUint32(8, true);
  const abi = view.getUint32(12, true);
  if (format !== FORMAT || abi !== ABI_VERSION) {
    throw unusable(
      `The machine was saved in format ${format} by a core with ABI version ${abi}; this is format ${FORMAT}, ABI version ${ABI_VERSION}.`,
      "Restore it with the version of guestmmu that saved it.",
    );
  }
  const size = view.getUint32(16, true);
  const pageCount = view.getUint32(20, true);
  const memoryPages = Math.ceil(size / PAGE_SIZE);
  const bitmapSize = align16(Math.ceil(memoryPages / 8));
  const total = HEAD_SIZE + bitmapSize + pageCount * PAGE_SIZE + 4;
  if (BigInt(size) > MACHINE_SIZE_MAX || pageCount > memoryPages || bytes.length !== total) {
    throw unusable(`The saved machine has ${bytes.length} bytes; its head tells of ${total}.`);
  }
  const checksum = new Checksum();
  checksum.update(bytes.subarray(0, total - 4));
  if (checksum.digest() !== view.getUint32(total - 4, true))
    throw unusable("The saved machine is damaged: its checksum is wrong.");
  const pages: number[] = [];
  for (let page = 0; page < bitmapSize * 8; page++) {
    if ((bytes[HEAD_SIZE + (page >>> 3)]! >> (page & 7)) & 1) pages.push(page);
  }
  const headerPage = pages.indexOf(HEADER_BASE / PAGE_SIZE);
  if (pages.length !== pageCount || headerPage < 0 || pages.at(-1)! >= memoryPages) {
    throw unusable("The saved machine does not hold the pages it tells of.");
  }
  const contents = bytes.subarray(HEAD_SIZE + bitmapSize, total - 4);
  // A view in which the header's offsets hold: they count from address 0 of the memory.
  const front = new Uint8Array(HEADER_BASE + HEADER_SIZE);
  front.set(contents.subarray(headerPage * PAGE_SIZE, (headerPage + 1) * PAGE_SIZE), HEADER_BASE);
  const header = new DataView(front.buffer);
  if (header.getUint32(HEADER_OFFSET_SIZE, true) !== size)
    throw unusable("The saved machine contradicts its own header.");
  return { size, pages, contents, header };
}

/** Puts the pages of a saved machine into a memory that is zero, and takes back what stopped it. */
export function fillMemory(u8: Uint8Array, saved: SavedMachine): void {
  saved.pages.forEach((page, i) => {
    u8.set(saved.contents.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), page * PAGE_SIZE);
  });
  const view = new DataView(u8.buffer);
  view.setUint32(HEADER_STOP, 0, true);
  view.setUint32(HEADER_ABORT, 0, true);
}

// A machine with files: the raw exports of abi/file.ts, for tests of page cache, DAX, pins and direct I/O.
import * as layout from "../src/core/layout.generated.js";
import { type HostConfiguration } from "./host-machine.js";
import { HostStatus, READ, WRITE } from "./host-machine.js";
import { KvmMachine } from "./kvm-machine.js";

export const { FollFlag, FileKind, PageFlag, GUP_PIN_COUNTING_BIAS: PIN, DIO_HANDLE } = layout;
export const PINNED = FollFlag.Write;

/** Result of a call that returns a number and a status. */
export interface Numbered {
  readonly number: number;
  readonly status: number;
}

export class FileMachine extends KvmMachine {
  constructor(configuration: HostConfiguration = {}) {
    super({ vcpus: 1, hosts: 2, files: 3, filePages: 16, ...configuration });
  }

  numbered(name: string, ...args: (number | bigint)[]): Numbered {
    const result = this.u64(name, ...args);
    return { number: Number(result & 0xffff_ffffn), status: Number((result >> 32n) & 0xffn) };
  }
  #made(name: string, ...args: number[]): number {
    const { number, status } = this.numbered(name, ...args);
    if (status !== HostStatus.Ok) throw new Error(`${name}: status ${status}`);
    return number;
  }
  file(pages: number, device = 0): number {
    return this.#made("hostFileCreate", pages, device);
  }
  device(order: number): number {
    return this.#made("hostDeviceCreate", this.host, order);
  }
  mapFile(file: number, pages: number, { pgoff = 0, flags = READ | WRITE, hva = 0n } = {}): bigint {
    const result = this.u64("hostMmapFile", this.host, hva, BigInt(pages) << 12n, flags, file, pgoff);
    if (result < 65536n) throw new Error(`mmap: status ${result}`);
    return result;
  }
  /** The frame of a page of a file, 0 for a hole. */
  pageOf(file: number, index: number): number {
    return this.u32("hostFilePage", file, index);
  }
  truncate(file: number, pages: number, { wait = false, actor = this.host } = {}): number {
    return this.u32("hostFileTruncate", actor, file, pages, wait ? 1 : 0);
  }
  punch(file: number, first: number, count: number, { wait = false, actor = this.host } = {}): number {
    return this.u32("hostFilePunch", actor, file, first, count, wait ? 1 : 0);
  }
  destroyFile(file: number, wait = false): number {
    return this.u32("hostFileDestroy", this.host, file, wait ? 1 : 0);
  }
  destroyDevice(device: number, wait = false): number {
    return this.u32("hostDeviceDestroy", this.host, device, wait ? 1 : 0);
  }
  pin(hva: bigint, flags: number = PINNED, actor = this.host): { pfn: number; status: number } {
    const { number, status } = this.numbered("hostPin", actor, hva, flags);
    return { pfn: number, status };
  }
  pinFast(hva: bigint, flags: number = PINNED, actor = this.host): number {
    return this.u32("hostPinFast", actor, hva, flags);
  }
  unpin(pfn: number, { dirty = false, actor = this.host } = {}): void {
    this.raw["hostUnpin"]!(actor, pfn, dirty ? 1 : 0);
  }
  maybePinned(pfn: number): boolean {
    return this.u32("hostMaybePinned", pfn) !== 0;
  }
  flagsOf(pfn: number): number {
    return this.u32("hostPageFlags", pfn);
  }
  mappingOf(pfn: number): number {
    return this.u32("hostPageMapping", pfn);
  }
  /** Bytes of the batch buffer of an actor, where read(2), write(2) and devices have theirs. */
  buffer(actor: number, length: number): Uint8Array {
    const base = this.word(layout.HEADER_OFFSET_BATCHES_BASE);
    const size = this.word(layout.HEADER_OFFSET_BATCH_SIZE);
    return new Uint8Array(this.memory.buffer, base + actor * size, length);
  }
  /** read(2) of one byte; throws unless it succeeds. */
  readByte(file: number, offset: number): number {
    const status = this.u32("hostFileRead", this.host, file, BigInt(offset), 1);
    if (status !== HostStatus.Ok) throw new Error(`read: status ${status}`);
    return this.buffer(this.host, 1)[0]!;
  }
  /** write(2) of one byte. */
  writeByte(file: number, offset: number, value: number): number {
    this.buffer(this.host, 1)[0] = value;
    return this.u32("hostFileWrite", this.host, file, BigInt(offset), 1);
  }
  /** Byte of a frame, whoever it belongs to. */
  byteAt(pfn: number, offset = 0): number {
    return this.view.getUint8(this.u32("hostFrame", pfn) + offset);
  }
}

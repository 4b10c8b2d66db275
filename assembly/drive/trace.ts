// Accesses from a recording: records in the actor's batch buffer, made as a process makes them, split where an access
// is wider than a register or crosses a page.
//
//   0  gva     8  size   12  Access: Read, Write, Fetch or Modify        16 bytes a record

import { DriveStatus } from "../layout/drive";
import { Map } from "../layout/map";
import { Access } from "../layout/walk";
import { STOP_MASK, Touch, beginDrive, endDrive, reachSlow } from "./access";

const RECORD_SIZE: usize = 16;

/** Moves a piece of 1, 2, 4 or 8 bytes that lies in one page. Returns what was read. */
function movePiece(host: usize, size: u32, access: Access, value: u64): u64 {
  if (access == Access.Read || access == Access.Fetch) {
    if (size == 8) return load<u64>(host);
    if (size == 4) return load<u32>(host);
    return size == 2 ? load<u16>(host) : load<u8>(host);
  }
  if (size == 8) store<u64>(host, value);
  else if (size == 4) store<u32>(host, <u32>value);
  else if (size == 2) store<u16>(host, <u16>value);
  else store<u8>(host, <u8>value);
  return 0;
}

/** Bytes of the next piece: a power of two up to 8, within what is left and within the page. */
function pieceSize(gva: u64, left: u32): u32 {
  const room = min<u32>(min<u32>(left, 8), 4096 - ((<u32>gva) & 4095));
  return 1 << (31 - clz(room));
}

/** Runs `count` records of the batch buffer from number `first`; returns how many were done. */
export function runTrace(vcpu: usize, first: u32, count: u32): u32 {
  if (!beginDrive(vcpu)) return 0;
  const drive = Touch.drive(vcpu);
  const records = Map.batchSize / <u32>RECORD_SIZE;
  first = min(first, records);
  count = min(count, records - first);
  let record = Map.batch(vcpu) + <usize>first * RECORD_SIZE;
  let pieces: u32 = 0;
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count; done++, record += RECORD_SIZE) {
    if ((done & STOP_MASK) == 0 && Touch.stopped()) {
      drive.status = DriveStatus.Stopped;
      break;
    }
    let gva = load<u64>(record);
    let left = load<u32>(record, 8);
    const access = load<u32>(record, 12) & 3;
    while (left) {
      const size = pieceSize(gva, left);
      let host = Touch.hit(vcpu, gva, access);
      if (host == 0) {
        host = reachSlow(vcpu, gva, access);
        if (drive.status != DriveStatus.Ok) break;
        misses++;
      }
      if (host) {
        Touch.use(vcpu, gva, host, access);
        drive.sink ^= movePiece(host, size, access, gva);
      }
      pieces++;
      gva += size;
      left -= size;
    }
    if (left) break;
  }
  endDrive(vcpu, pieces, misses);
  return done;
}

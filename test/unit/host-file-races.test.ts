// Truncate against everything that looks a page up, in every interleaving in which one acts at a single point of the other.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { FileMachine, PINNED } from "../file-machine.js";
import { HostStatus, PAGE, Rule, WRITE, READ } from "../host-machine.js";
import { atEveryAccess } from "../interleaving.js";
import { Outcome, Profile, QUIET } from "../kvm-machine.js";

type Raw = FileMachine["raw"];
const u32 = (raw: Raw, name: string, ...args: (number | bigint)[]): number =>
  (raw[name]!(...args) as number) >>> 0;

const ERAS = [
  ["idle at 1", Profile.V6_13],
  ["idle at 0", Profile.V6_15],
] as const;
const SMALL = { build: "lab", frames: 64, filePages: 2, vmas: 4, spinLimit: 0 } as const;

/** Gives both host threads frames at hand: else each waits for zone.lock wherever the other fetches some. */
function stock(m: FileMachine): void {
  for (const actor of [m.host, m.host + 1]) {
    const hva = m.map(PAGE, { actor });
    m.touch(hva, PAGE, true, actor);
    m.unmap(hva, PAGE, actor);
  }
}

/** A PTE, or an SPTE, of a page of a file says a page that the file has there. */
function expectMapped(m: FileMachine, file: number, hva: bigint, place: string): void {
  const pte = m.pte(hva);
  if (pte !== 0n) expect(m.pfnOf(hva), place).toBe(m.pageOf(file, 0));
  const leaf = m.leaf(0n);
  if (leaf !== 0n) expect([pte === 0n, m.leafPfn(0n)], place).toEqual([false, m.pageOf(file, 0)]);
}

describe.each(["page cache", "DAX"])("a file (%s)", (kind) => {
  const machine = (onAccess: () => void): FileMachine => new FileMachine({ ...SMALL, onAccess });
  const prepare = (m: FileMachine): { file: number; hva: bigint } => {
    const file = m.file(1, kind === "DAX" ? m.device(0) : 0);
    const hva = m.mapFile(file, 1);
    m.setSlot(0, 0n, 1n, hva);
    return { file, hva };
  };

  test.each([
    ["truncate at any moment of a fault", false],
    ["a fault at any moment of truncate", true],
  ])("%s: nothing maps a page that the file does not have", (_order, swapped) => {
    const fault = (raw: Raw): number => u32(raw, "vcpuStore", 0, 0n, 8, 0x11n);
    const truncate = (raw: Raw, host: number, file: number): number =>
      u32(raw, "hostFileTruncate", host, file, 0, 0);
    const places = atEveryAccess({
      machine,
      prepare: (m) => {
        const state = prepare(m);
        if (swapped) m.store(state.hva, 1n); // so that there is something to unmap
        return state;
      },
      first: (m, { file }) => (swapped ? truncate(m.raw, m.host, file) : fault(m.raw)),
      second: (raw, { file }, m) => void (swapped ? fault(raw) : truncate(raw, m.host, file)),
      check: (m, { file, hva }, _ended, place) => {
        expectMapped(m, file, hva, place);
        expect(m.imbalance, place).toBe(0);
        expect(m.truncate(file, 0), place).toBe(HostStatus.Ok);
        expect([m.pte(hva), m.leaves, m.pageOf(file, 0)], place).toEqual([0n, 0, 0]);
        expect(m.guestStore(0n, 1n), place).toBe(Outcome.HostFault);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(places).toBeGreaterThan(20);
  });

  test("two faults on one hole add one page", () => {
    const places = atEveryAccess({
      machine,
      prepare: (m) => {
        stock(m);
        const file = m.file(1, kind === "DAX" ? m.device(1) : 0);
        return { file, a: m.mapFile(file, 1), b: m.mapFile(file, 1, { hva: 0x7000_0000_0000n }) };
      },
      first: (m, { a }) => m.store(a, 0x11n, 1, m.host),
      second: (raw, { b }, m) => void raw["hostStore"]!(m.host + 1, b + 1n, 1, 0x22n),
      check: (m, { file, a, b }, ended, place) => {
        expect([ended, m.pfnOf(a), m.pfnOf(b)], place).toEqual([0, m.pageOf(file, 0), m.pageOf(file, 0)]);
        expect([m.load(a, 2), m.mapcount(m.pfnOf(a)), m.imbalance], place).toEqual([0x2211n, 2, 0]);
      },
    });
    expect(places).toBeGreaterThan(5);
  });

  test("munmap at any moment of truncate, and truncate of munmap: each page is unmapped once", () => {
    for (const swapped of [false, true]) {
      const munmap = (raw: Raw, m: FileMachine, hva: bigint): number =>
        u32(raw, "hostMunmap", m.host, hva, PAGE);
      const truncate = (raw: Raw, m: FileMachine, file: number): number =>
        u32(raw, "hostFileTruncate", m.host + 1, file, 0, 0);
      const places = atEveryAccess({
        machine,
        prepare: (m) => {
          const state = prepare(m);
          m.guestStore(0n, 1n);
          return state;
        },
        first: (m, { file, hva }) => (swapped ? munmap(m.raw, m, hva) : truncate(m.raw, m, file)),
        second: (raw, { file, hva }, m) => void (swapped ? truncate(raw, m, file) : munmap(raw, m, hva)),
        check: (m, { file, hva }, ended, place) => {
          // A DAX page whose reference munmap has gathered and not put is held: truncate says so, and is repeated.
          if (ended === HostStatus.Busy) expect(kind, place).toBe("DAX");
          expect([m.pte(hva), m.leaves], place).toEqual([0n, 0]);
          expect(m.truncate(file, 0), place).toBe(HostStatus.Ok);
          expect([m.pageOf(file, 0), m.vmas.length], place).toEqual([0, 0]);
          expect(m.quiesce(), place).toEqual(QUIET);
        },
      });
      expect(places).toBeGreaterThan(20);
    }
  });
});

test("read(2) and write(2) at any moment of a hole being punched: the byte is the file's, or the hole's", () => {
  for (const write of [false, true]) {
    const places = atEveryAccess({
      machine: (onAccess) => new FileMachine({ ...SMALL, onAccess }),
      prepare: (m) => {
        const file = m.file(1);
        m.writeByte(file, 0, 0x77);
        m.buffer(m.host, 1)[0] = 0x55;
        return file;
      },
      first: (m, file) => u32(m.raw, write ? "hostFileWrite" : "hostFileRead", m.host, file, 0n, 1),
      second: (raw, file, m) => void raw["hostFilePunch"]!(m.host + 1, file, 0, 1, 0),
      check: (m, file, ended, place) => {
        expect(ended, place).toBe(HostStatus.Ok);
        if (!write) expect([0, 0x77], place).toContain(m.buffer(m.host, 1)[0]);
        else expect([0, 0x55], place).toContain(m.readByte(file, 0));
        expect(m.imbalance, place).toBe(0);
      },
    });
    // write(2) holds the inode lock: a punch comes before it or after it.
    expect(places).toBeGreaterThan(write ? 0 : 2);
  }
});

/** Races a lookup of the lockless kind with a truncate after which another file has the block, mapped. */
function raceForBlock(
  profile: number,
  lookup: "hostGupFast" | "hostPinFast" | "hostPin" | "hostGup",
  without: number[] = [],
): { places: number; stolen: number } {
  let stolen = 0;
  const places = atEveryAccess({
    machine: (onAccess) => new FileMachine({ ...SMALL, profile, without, onAccess }),
    prepare: (m) => {
      const device = m.device(0);
      const [a, b] = [m.file(1, device), m.file(1, device)];
      const [from, to] = [m.mapFile(a, 1), m.mapFile(b, 1, { hva: 0x7000_0000_0000n })];
      m.store(from, 1n);
      return { a, b, from, to, block: m.pageOf(a, 0), found: 0 };
    },
    first: (m, state) => {
      state.found = Number(BigInt(m.raw[lookup]!(m.host, state.from, PINNED)) & 0xffff_ffffn);
      return 0;
    },
    second: (raw, { a, to }, m) => {
      if (u32(raw, "hostFileTruncate", m.host + 1, a, 0, 0) === HostStatus.Ok)
        raw["hostStore"]!(m.host + 1, to, 8, 2n);
    },
    check: (m, { a, b, block, found }, _ended, place) => {
      const pin = lookup === "hostPin" || lookup === "hostPinFast";
      if (found !== 0 && m.mappingOf(found) !== a) {
        stolen++;
        return;
      }
      if (found !== 0) {
        expect([found, m.truncate(a, 0)], place).toEqual([block, HostStatus.Busy]);
        if (pin) m.unpin(found);
        else m.put(found, m.host);
      }
      expect(m.truncate(a, 0), place).toBe(HostStatus.Ok);
      expect([0, b], place).toContain(m.mappingOf(block));
      expect(m.imbalance, place).toBe(0);
    },
  });
  return { places, stolen };
}

describe.each(ERAS)("a lookup against truncate of a DAX file, %s", (_era, profile) => {
  test.each(["hostGupFast", "hostPinFast", "hostGup", "hostPin"] as const)(
    "%s holds the block of the file it asked for, or none",
    (lookup) => {
      const { places, stolen } = raceForBlock(profile, lookup);
      expect(places).toBeGreaterThan(4);
      expect(stolen).toBe(0);
    },
  );

  test("without GupRechecksPte it may hold a block that is another file's by then", () => {
    expect(raceForBlock(profile, "hostPinFast", [Rule.GupRechecksPte]).stolen).toBeGreaterThan(0);
  });

  test("without DaxTruncateWaitsIdle the block of a page that it holds is given away", () => {
    expect(raceForBlock(profile, "hostPinFast", [Rule.DaxTruncateWaitsIdle]).stolen).toBeGreaterThan(0);
  });
});

describe.each(ERAS)("waiting, %s", (_era, profile) => {
  const first = function* (n: number): Generator<number> {
    for (let at = 0; at < n; at++) yield at;
  };

  test.each(["hostFileTruncate", "hostFilePunch", "hostFileDestroy"] as const)(
    "%s sleeps until the page of a DAX file is idle, whenever that comes",
    (call) => {
      const places = atEveryAccess({
        machine: (onAccess) => new FileMachine({ ...SMALL, profile, onAccess }),
        prepare: (m) => {
          const file = m.file(1, m.device(0));
          const hva = m.mapFile(file, 1);
          const { pfn } = m.pin(hva);
          if (call === "hostFileDestroy") m.unmap(hva, PAGE, m.host);
          return { file, pfn };
        },
        first: (m, { file }) => {
          const counts = call === "hostFilePunch" ? [0, 1] : call === "hostFileTruncate" ? [0] : [];
          return u32(m.raw, call, m.host, file, ...counts, 1);
        },
        second: (raw, { pfn }, m) => void raw["hostUnpin"]!(m.host + 1, pfn, 1),
        check: (m, { file, pfn }, ended, place) => {
          expect([ended, m.pageOf(file, 0), m.mappingOf(pfn)], place).toEqual([HostStatus.Ok, 0, 0]);
          expect(m.imbalance, place).toBe(0);
        },
        places: first(70),
      });
      expect(places).toBe(70);
    },
  );

  test("a page that is pinned again while truncate sleeps makes it wait for that one too", () => {
    let pins = 0;
    let asleep = 0;
    const others: Raw[] = [];
    const m: FileMachine = new FileMachine({
      ...SMALL,
      profile,
      onAccess: () => {
        const other = others[0];
        if (other === undefined || pins > 3) return;
        // Truncate sleeps, and has given the invalidate lock up: the file can be touched and pinned.
        const row = m.word(layout.HEADER_OFFSET_FILES_BASE) + (layout.DEVICE_MAX << layout.DEVICE_SHIFT);
        const locked = (at: number): boolean => m.word(row + at) !== 0;
        asleep = locked(layout.FILE_INODE_LOCK) && !locked(layout.FILE_INVALIDATE_LOCK) ? asleep + 1 : 0;
        if (asleep !== 20) return;
        asleep = 0;
        const host = m.host + 1;
        other["hostUnpin"]!(host, pfn, 0);
        if (++pins <= 3) other["hostPin"]!(host, hva, PINNED);
        // The page is mapped again. Where the idle count is 0 that alone keeps truncate waiting.
        else if (profile === Profile.V6_15) other["hostDontneed"]!(host, hva, PAGE);
      },
    });
    const file = m.file(1, m.device(0));
    const hva = m.mapFile(file, 1);
    const { pfn } = m.pin(hva);
    others.push(m.another());
    expect([m.truncate(file, 0, { wait: true }), pins]).toEqual([HostStatus.Ok, 4]);
    expect([m.pageOf(file, 0), m.pte(hva), m.imbalance]).toEqual([0, 0n, 0]);
  });

  test("the end of a device sleeps until the last reference is dropped", () => {
    const places = atEveryAccess({
      machine: (onAccess) =>
        new FileMachine({ ...SMALL, profile, onAccess, without: [Rule.DaxTruncateWaitsIdle] }),
      prepare: (m) => {
        const device = m.device(1);
        const file = m.file(1, device);
        const hva = m.mapFile(file, 1);
        const { pfn } = m.gup(hva);
        m.unmap(hva, PAGE);
        expect(m.destroyFile(file)).toBe(HostStatus.Ok); // the file is gone, the reference is not
        expect(m.destroyDevice(device)).toBe(HostStatus.Busy);
        return { device, pfn };
      },
      first: (m, { device }) => m.destroyDevice(device, true),
      second: (raw, { pfn }, m) => void raw["hostPutPage"]!(m.host + 1, pfn),
      check: (m, { device }, ended, place) => {
        expect([ended, m.u32("hostDevicePfn", device), m.imbalance], place).toEqual([HostStatus.Ok, 0, 0]);
      },
      places: first(40),
    });
    expect(places).toBe(40);
  });
});

test.each([
  ["DAX, idle at 1", Profile.V6_13, true],
  ["DAX, idle at 0", Profile.V6_15, true],
  ["page cache", Profile.V6_13, false],
] as const)(
  "%s: the device of direct I/O writes while a hole is punched: into the file, or into nobody's page, never another file's",
  (_kind, profile, isDax) => {
    const places = atEveryAccess({
      machine: (onAccess) => new FileMachine({ ...SMALL, profile, onAccess }),
      prepare: (m) => {
        stock(m);
        const device = isDax ? m.device(0) : 0;
        const [a, b] = [m.file(1, device), m.file(1, device)];
        const hva = m.mapFile(a, 1, { flags: READ | WRITE });
        return { a, b, hva };
      },
      first: (m, { hva }) => {
        m.buffer(m.host, 64).fill(0xdd);
        return u32(m.raw, "hostDirectRead", m.host, hva, 64);
      },
      second: (raw, { a, b }, m) => {
        m.buffer(m.host + 1, 1)[0] = 0x11;
        if (u32(raw, "hostFilePunch", m.host + 1, a, 0, 1, 0) === HostStatus.Ok)
          raw["hostFileWrite"]!(m.host + 1, b, 0n, 1);
      },
      check: (m, { a, b }, ended, place) => {
        // Where the device has only one block, and the other file took it, there is none left for this one.
        if (ended === HostStatus.Ok) expect([0, 0xdd], place).toContain(m.readByte(a, 0));
        else expect(ended, place).toBe(HostStatus.NoBlocks);
        expect([0, 0x11], place).toContain(m.readByte(b, 0));
        expect(m.imbalance, place).toBe(0);
      },
    });
    expect(places).toBeGreaterThan(20);
  },
);

test("pins are taken before the PTE is read again: none is left behind where that fails", () => {
  const places = atEveryAccess({
    machine: (onAccess) => new FileMachine({ ...SMALL, onAccess }),
    prepare: (m) => {
      const hva = m.map(PAGE, { actor: m.host });
      m.store(hva, 1n);
      return { hva, pfn: m.pfnOf(hva) };
    },
    first: (m, { hva }) => m.pinFast(hva),
    second: (raw, { hva }, m) => void raw["hostDontneed"]!(m.host + 1, hva, PAGE),
    check: (m, { hva, pfn }, ended, place) => {
      if (ended) {
        expect([ended, m.refcount(pfn)], place).toEqual([pfn, layout.GUP_PIN_COUNTING_BIAS]);
        m.unpin(pfn);
      }
      expect([m.pte(hva), m.refcount(pfn), m.imbalance], place).toEqual([0n, 0, 0]);
    },
  });
  expect(places).toBeGreaterThan(4);
});

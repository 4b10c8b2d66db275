// Page tables written straight into frames, for the questions about walks: nobody else uses these machines.
import * as L from "../dist/core/layout.generated.js";

const LINK = L.PTE_P | L.PTE_RW | L.PTE_US | L.PTE_A;
const LEAF = LINK | L.PTE_D;
const EPT_LINK = L.EPT_R | L.EPT_W | L.EPT_X | L.EPT_A;
const EPT_LEAF = EPT_LINK | L.EPT_MEMTYPE_WB | L.EPT_D;

/** Builds tables of four levels; `where(page)` is the frame that holds the table page with that physical number. */
export class Tables {
  constructor(machine, { link, nextPage, where = (page) => page }) {
    Object.assign(this, { machine, link, nextPage, where });
    this.used = [];
    this.root = this.#page();
  }
  #page() {
    const page = this.nextPage();
    const pfn = this.where(page);
    this.machine.u8.fill(0, this.machine.frame(pfn), this.machine.frame(pfn + 1));
    this.used.push(pfn);
    return page;
  }
  map(address, leaf) {
    let table = this.root;
    for (let shift = 39; ; shift -= 9) {
      const at = this.machine.frame(this.where(table)) / 8 + Number((address >> BigInt(shift)) & 511n);
      if (shift === 12) {
        this.machine.u64[at] = leaf;
        return;
      }
      if (this.machine.u64[at] === 0n) this.machine.u64[at] = (BigInt(this.#page()) << 12n) | this.link;
      table = Number((this.machine.u64[at] & L.PTE_ADDRESS) >> 12n);
    }
  }
}

/** A permutation of [0, count), count a power of two: neighbours do not stay neighbours. */
export const scatter = (i, count) => (Math.imul(i, 0x9e3779b1) >>> 0) & (count - 1);

function longMode({ calls }, cr3) {
  const { Register } = L;
  calls.registerWrite(0, Register.Cr4, L.CR4_PAE);
  calls.registerWrite(0, Register.Efer, L.EFER_LME | L.EFER_NXE);
  calls.registerWrite(0, Register.Cr3, cr3);
  calls.registerWrite(0, Register.Cr0, L.CR0_PE | L.CR0_ET | L.CR0_WP | L.CR0_PG);
  calls.registerWrite(0, Register.Cpl, 3n);
}

/** First pages of walk machines that the core's own tables cannot have taken. */
export const FIRST_TABLE = 4096;

/** A vCPU in long mode whose `pages` pages from `base` are user pages in as many frames. Returns the frames used. */
export function mapLinear(machine, base, pages) {
  let next = FIRST_TABLE;
  const tables = new Tables(machine, { link: LINK, nextPage: () => next++ });
  const data = FIRST_TABLE + 4 + Math.ceil(pages / 512) * 2;
  for (let i = 0; i < pages; i++) {
    tables.map(base + BigInt(i) * 4096n, (BigInt(data + scatter(i, pages)) << 12n) | LEAF);
  }
  longMode(machine, BigInt(tables.root) << 12n);
  return { used: tables.used, data };
}

/** The same behind EPT with 4 KiB leaves: a walk makes 24 references. */
export function mapNested(machine, base, pages) {
  // Guest-physical page p lies in a frame of its own; EPT tables lie behind all of those.
  const frames = 1024;
  const hostOf = (page) => FIRST_TABLE + scatter(page, frames);
  let nextEpt = FIRST_TABLE + frames;
  const ept = new Tables(machine, { link: EPT_LINK, nextPage: () => nextEpt++ });
  let nextGuest = 1;
  const guest = new Tables(machine, { link: LINK, nextPage: () => nextGuest++, where: hostOf });
  const data = 512;
  for (let i = 0; i < pages; i++) {
    guest.map(base + BigInt(i) * 4096n, (BigInt(data + scatter(i, pages)) << 12n) | LEAF);
  }
  for (let page = 1; page < data + pages; page++) {
    ept.map(BigInt(page) << 12n, (BigInt(hostOf(page)) << 12n) | EPT_LEAF);
  }
  machine.calls.registerWrite(0, L.Register.Eptp, (BigInt(ept.root) << 12n) | L.EPTP_WB_4LEVEL | L.EPTP_AD);
  longMode(machine, BigInt(guest.root) << 12n);
  return { used: [...ept.used, ...guest.used] };
}

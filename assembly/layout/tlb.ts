// One TLB entry: 32 bytes, so that a hit touches one line.
//
//    0 tag         page number of the linear address: bits 63:12, 63:21 or 63:30; size in bits 63:62 of the word
//    8 context     63:28 EP4TA >> 12    27:12 VPID    11:0 PCID
//   16 rights      obstacles to an access (x86/rights.ts)
//   24 addend      what to add to the linear address to have the address in this memory, modulo 2^32
//   28 generation  valid while it is the vCPU's; 0 is an empty place
//
// A vCPU's part of the region: the entries of 4-KByte translations, then those of large ones. Both direct mapped.

@unmanaged
export class TlbEntry {
  tag: u64;
  context: u64;
  rights: u64;
  addend: u32;
  generation: u32;
}
export const TLB_ENTRY_SHIFT: u32 = 5;
export const TLB_TAG: usize = offsetof<TlbEntry>("tag");
export const TLB_CONTEXT: usize = offsetof<TlbEntry>("context");
export const TLB_RIGHTS: usize = offsetof<TlbEntry>("rights");
export const TLB_ADDEND: usize = offsetof<TlbEntry>("addend");
export const TLB_GENERATION: usize = offsetof<TlbEntry>("generation");

/** Fields of `context`. */
export const TLB_CONTEXT_PCID: u64 = 0xfff;
export const TLB_CONTEXT_VPID_SHIFT: u64 = 12;
export const TLB_CONTEXT_VPID: u64 = 0xffff << 12;
export const TLB_CONTEXT_EP4TA_SHIFT: u64 = 28;
export const TLB_CONTEXT_EP4TA: u64 = ~(<u64>0xfff_ffff);

if (offsetof<TlbEntry>() != (<usize>1) << TLB_ENTRY_SHIFT) ERROR("a TLB entry must fill its place");

// One TLB entry: 32 bytes, so that a hit touches one line.
//
//    0 tag      linear page address | TLB_VALID | size        8 context   PCID 11:0, VPID 27:12, EP4TA >> 12 63:28
//   16 host     address of the page in this memory           20 rights    raw rights, see x86/rights.ts
//   24 generation                                            28 frame     page frame number, for reports

@unmanaged
export class TlbEntry {
  tag: u64;
  context: u64;
  host: u32;
  rights: u32;
  generation: u32;
  frame: u32;
}
export const TLB_ENTRY_SHIFT: u32 = 5;
if (offsetof<TlbEntry>() != <usize>1 << TLB_ENTRY_SHIFT) ERROR("a TLB entry must fill its place");

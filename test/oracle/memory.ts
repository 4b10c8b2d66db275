// Physical memory of the oracle: words that come into being when they are first read, and what may and must become of them.

/** What the reader takes a word for. */
export interface Place {
  nested: boolean;
  /** 5 for a PML5 entry, 1 for one of a page table; 0: no entry, a word of the page-modification log. */
  level: number;
}

export interface OracleWord {
  pa: bigint;
  place: Place;
  /** Before the access. */
  value: bigint;
  /** Bits of it that have to change, and those that may. */
  must: bigint;
  may: bigint;
}

export class OracleMemory {
  readonly words = new Map<bigint, OracleWord>();

  /** @param origin what a word holds that nobody has read before */
  constructor(private readonly origin: (pa: bigint, place: Place) => bigint) {}

  private word(pa: bigint, place: Place): OracleWord {
    let word = this.words.get(pa);
    if (!word) {
      word = { pa, place, value: this.origin(pa, place), must: 0n, may: 0n };
      this.words.set(pa, word);
    }
    return word;
  }

  /** The word as it is by now. */
  read(pa: bigint, place: Place): bigint {
    const { value, must } = this.word(pa, place);
    return value ^ must;
  }
  /** Sets flags that have to be set; returns those that were clear. */
  set(pa: bigint, bits: bigint): bigint {
    const word = this.words.get(pa)!;
    const clear = bits & ~(word.value ^ word.must);
    word.must |= clear;
    word.may |= clear;
    return clear;
  }
  /** Flags that may be set as well. */
  allow(pa: bigint, bits: bigint): void {
    const word = this.words.get(pa)!;
    word.may |= bits & ~word.value;
  }
  /** Writes a whole word. */
  write(pa: bigint, place: Place, value: bigint): void {
    const word = this.word(pa, place);
    word.must = word.value ^ value;
    word.may = word.must;
  }
}

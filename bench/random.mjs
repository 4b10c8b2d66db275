// The xorshift generator of the core's `measureWalk`, on two halves.

/** Page indexes in the order of `measureWalk(…, pages, count, seed)` with independent addresses. */
export function pageOrder(pages, count, seed) {
  const order = new Uint32Array(count);
  let low = Number(seed & 0xffff_ffffn) | 0;
  let high = Number(seed >> 32n) | 0;
  for (let i = 0; i < count; i++) {
    const shifted = (high << 13) | (low >>> 19);
    low ^= low << 13;
    high ^= shifted;
    low ^= (low >>> 7) | (high << 25);
    high ^= high >>> 7;
    const carried = (high << 17) | (low >>> 15);
    low ^= low << 17;
    high ^= carried;
    order[i] = (low & (pages - 1)) >>> 0;
  }
  return order;
}

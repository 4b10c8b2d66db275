// Log-linear histogram: 32 buckets an octave, so that a bucket is at most 1/32 (3.1 %) of its value wide.
// Values below 32 have a bucket each; bucket 32 * k + j holds values with highest bit k + 4 and next five bits j.
//
//   0      BUCKETS   a u64 count a bucket
//   9472   TOTALS    u64 each: values, their sum, the largest
//
// One histogram for every actor, written by nobody else: a reader adds buckets up, nothing is ever merged in place.

/** log2 of the buckets an octave. */
export const HISTOGRAM_SUB_SHIFT: u32 = 5;
/** Buckets: values below 2^41 ns (36 minutes); what is larger counts in the last. */
export const HISTOGRAM_BUCKETS: u32 = 37 << HISTOGRAM_SUB_SHIFT;

export const HISTOGRAM_OFFSET_COUNT: u32 = HISTOGRAM_BUCKETS * 8;
export const HISTOGRAM_OFFSET_SUM: u32 = HISTOGRAM_OFFSET_COUNT + 8;
export const HISTOGRAM_OFFSET_MAX: u32 = HISTOGRAM_OFFSET_COUNT + 16;

/** Bytes of one histogram, in whole pages. */
export const HISTOGRAM_SIZE: u32 = ((HISTOGRAM_OFFSET_MAX + 8 + 4095) >> 12) << 12;

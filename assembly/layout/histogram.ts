// Log-linear histogram: 32 buckets an octave, so that a bucket is at most 1/32 (3.1 %) of its value wide.
// Values below 32 have a bucket each; bucket 32 * k + j holds values with highest bit k + 4 and next five bits j.

/** log2 of the buckets an octave. */
export const HISTOGRAM_SUB_SHIFT: u32 = 5;
/** Buckets: values up to 2^40 ns (18 minutes); what is larger counts in the last. */
export const HISTOGRAM_BUCKETS: u32 = 37 << HISTOGRAM_SUB_SHIFT;
/** Bytes of one histogram: a u64 count a bucket, in whole pages. */
export const HISTOGRAM_SIZE: u32 = ((HISTOGRAM_BUCKETS * 8 + 4095) >> 12) << 12;

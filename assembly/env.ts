// What the lab build asks of its host. The release build imports its memory and nothing else.

/** The next access has this `Order`, or is this `Barrier`. */
export declare function order(order: i32): void;
/** One of `n` ways that the architecture allows: 0 to n - 1. */
export declare function choose(n: i32): i32;
/** An event for the checkers: `Note` and two arguments. */
export declare function note(kind: i32, a: u64, b: u64): void;

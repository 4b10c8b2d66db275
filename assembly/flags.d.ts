/** 1 in the lab build, 0 in the others: a compile-time constant, `asc --use LAB=0|1`. */
declare const LAB: i32;
/** 1 in the embed build, which has one thread and a memory that is not shared; 0 in the others. */
declare const EMBED: i32;

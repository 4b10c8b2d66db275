/** 1 in the lab build, 0 in the release build: a compile-time constant, `asc --use LAB=0|1`. */
declare const LAB: i32;

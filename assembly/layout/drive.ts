import { ACTOR_DRIVE } from "./actor";

/** Load generator and guest kernel state of one actor; private. */
@unmanaged
export class Drive {
  random0: u64;
  random1: u64;
}
if (ACTOR_DRIVE + offsetof<Drive>() > 4096) ERROR("Drive must end before the gather list");

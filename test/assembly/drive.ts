// Test module: the number streams of the drivers, one draw a call.
import { nextZipf, configureWindow } from "../../assembly/drive/workload";
import { Touch } from "../../assembly/drive/access";
import { Random, nextRandom } from "../../assembly/drive/random";
import { Permutation } from "../../assembly/guest/permutation";
import { Map, attachRegions, planRegions } from "../../assembly/layout/map";

export function setup(): u32 {
  const size = planRegions();
  attachRegions();
  return size;
}

export function start(actor: u32, seed: u64, steps: u32): void {
  configureWindow(Map.actor(actor), seed, 0, steps, 12);
}

export function zipf(actor: u32): u32 {
  return nextZipf(Touch.drive(Map.actor(actor)));
}

export function draw(actor: u32): u64 {
  return nextRandom(Touch.drive(Map.actor(actor)));
}

export function below(draw: u64, n: u32): u32 {
  return Random.below(draw, n);
}

export function share(draw: u64): u32 {
  return Random.share(draw);
}

export function permute(i: u64, n: u64, key: u64): u64 {
  return Permutation.of(i, n, Permutation.bits(n), key);
}

// What bench/ can be asked, in the order of the report.
import { broken, editToVerdict, searchRate, together, verdicts } from "./explore.mjs";
import { cycle, populate } from "./fault.mjs";
import { firstFigureTime, memory, moduleSize } from "./size.mjs";
import { vectors } from "./vectors.mjs";
import { tlbHit, walkCached, walkDistinct, walkL2, walkNested } from "./walk.mjs";
import { maps, translateBatch } from "./walker.mjs";
import { invalidator, twoWorkers } from "./workers.mjs";

export const QUESTIONS = [
  walkCached,
  walkL2,
  walkDistinct,
  tlbHit,
  walkNested,
  translateBatch,
  maps,
  populate,
  cycle,
  twoWorkers,
  invalidator,
  memory,
  moduleSize,
  firstFigureTime,
  verdicts,
  broken,
  editToVerdict,
  searchRate,
  together,
  vectors,
];

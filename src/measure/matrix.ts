/**
 * The matrix: every combination of the values given, without those that differ in nothing that is measured.
 */

import type { ProfileName } from "../core/profiles.js";
import { usageError } from "../errors.js";
import { formatBytes } from "../report/units.js";
import {
  QUESTIONS,
  type QuestionName,
  type RegionName,
  type RetryName,
  type WorkloadName,
} from "./questions.js";

/** One row of the matrix: what one measurement is made of. Two rows with equal fields can be compared. */
export interface RowConfig {
  readonly question: QuestionName;
  readonly vcpus: number;
  /** Invalidations per second asked for; Infinity: as fast as one thread can. */
  readonly invalidate: number;
  /** Pages of `pageSize` in one invalidation; 0 where there are none. */
  readonly span: number;
  /** Bytes of the pages with which host and guest map the region. */
  readonly pageSize: number;
  readonly profile: ProfileName;
  /** null where the question decides itself. */
  readonly workload: WorkloadName | null;
  /** Stores among 100 accesses; null where the question decides itself. */
  readonly writePercent: number | null;
  readonly region: RegionName;
  /** Bytes of the region: of each vCPU's own, or of the one that all share. */
  readonly memory: number;
  /** The host zeroes pages before it maps them. */
  readonly zero: boolean;
  readonly retry: RetryName;
  readonly poison: boolean;
}

/** Values to combine. A null stands for what suits the question. */
export interface MatrixAxes {
  readonly questions: readonly QuestionName[];
  readonly vcpus: readonly number[];
  readonly invalidate: readonly number[];
  readonly span: readonly number[];
  readonly pageSize: readonly number[];
  readonly profile: readonly ProfileName[];
  readonly workload: readonly WorkloadName[] | null;
  readonly writePercent: number | null;
  readonly region: readonly RegionName[];
  readonly memory: number | null;
  readonly zero: readonly boolean[];
  readonly retry: readonly RetryName[];
  readonly poison: boolean;
  /** Smaller regions where `memory` is null. */
  readonly small: boolean;
}

/** Entries of a vCPU's TLB in all measurements: 1024 of 4 KiB and 32 large. */
export const TLB_ENTRIES = 1024;
export const TLB_LARGE_ENTRIES = 32;

const KIB = 1024;
const MIB = 1024 * KIB;

/** Region where `--memory` is not given: `hit` fits the TLB, `miss` is many times what the TLB reaches. */
function defaultMemory(question: QuestionName, pageSize: number, small: boolean): number {
  const large = pageSize > 4 * KIB;
  if (question === "hit") return (large ? TLB_LARGE_ENTRIES / 2 : HIT_PAGES) * pageSize;
  if (large) return (small ? 128 : 256) * MIB;
  return (small ? 16 : 64) * MIB;
}

/** 4 KiB pages of `hit`. */
const HIT_PAGES = 64;

/** All rows, in the order in which they are measured. */
export function expandMatrix(axes: MatrixAxes): RowConfig[] {
  const rows: RowConfig[] = [];
  for (const question of axes.questions)
    for (const profile of axes.profile)
      for (const pageSize of axes.pageSize)
        for (const zero of axes.zero)
          for (const region of axes.region)
            for (const workload of workloadsOf(question, axes))
              for (const vcpus of axes.vcpus)
                for (const invalidate of axes.invalidate)
                  for (const span of invalidate === 0 ? [0] : axes.span)
                    for (const retry of invalidate === 0 ? [axes.retry[0]!] : axes.retry) {
                      const uses = QUESTIONS[question].uses;
                      const memory =
                        axes.memory !== null && uses.has("memory")
                          ? axes.memory
                          : defaultMemory(question, pageSize, axes.small);
                      rows.push({
                        question,
                        vcpus,
                        invalidate,
                        span,
                        pageSize,
                        profile,
                        workload,
                        writePercent: uses.has("writePercent") ? (axes.writePercent ?? 50) : null,
                        region,
                        memory,
                        zero,
                        retry,
                        poison: axes.poison,
                      });
                    }
  rows.forEach(refuse);
  return rows;
}

function workloadsOf(question: QuestionName, axes: MatrixAxes): readonly (WorkloadName | null)[] {
  if (!QUESTIONS[question].uses.has("workload")) return [null];
  return axes.workload ?? ["uniform"];
}

/** Refuses a row that cannot be measured, with a sentence that says why and what can. */
function refuse(row: RowConfig): void {
  const pages = row.memory / row.pageSize;
  if (!Number.isInteger(pages)) {
    throw usageError(
      `--memory ${formatBytes(row.memory)} is not a whole number of ${formatBytes(row.pageSize)} pages.`,
      `Give a multiple of ${formatBytes(row.pageSize)}.`,
    );
  }
  if (pages < row.vcpus) {
    throw usageError(
      `--memory ${formatBytes(row.memory)} is ${pages} page${pages === 1 ? "" : "s"} of ` +
        `${formatBytes(row.pageSize)}, fewer than the ${row.vcpus} vCPUs.`,
      `Give at least ${formatBytes(row.pageSize * row.vcpus)}, or fewer vCPUs.`,
    );
  }
  const reach = row.pageSize > 4 * KIB ? TLB_LARGE_ENTRIES : TLB_ENTRIES;
  if (row.question === "miss" && pages <= reach) {
    throw usageError(
      `--memory ${formatBytes(row.memory)} is ${pages} page${pages === 1 ? "" : "s"} of ${formatBytes(row.pageSize)}, which ` +
        `the TLB of ${reach} entries can hold: question miss would measure hits.`,
      `Give more than ${formatBytes(reach * row.pageSize)}, or other questions.`,
    );
  }
  if (row.span > pages) {
    throw usageError(
      `--span ${row.span} is more than the ${pages} pages of the region of question ${row.question} ` +
        `(${formatBytes(row.memory)} in pages of ${formatBytes(row.pageSize)}).`,
      row.question === "hit"
        ? `Its working set has ${pages} pages, to fit the TLB: give a span of at most ${pages}, or other questions.`
        : "Give a smaller span, or more --memory.",
    );
  }
}

/** A text that is the same for rows that may be compared. `trace`: the digest of what drives question `trace`. */
export function rowKey(row: RowConfig, trace: string | null = null): string {
  return JSON.stringify([
    row.question,
    row.vcpus,
    String(row.invalidate),
    row.span,
    row.pageSize,
    row.profile,
    row.workload,
    row.writePercent,
    row.region,
    row.memory,
    row.zero,
    row.invalidate === 0 ? "-" : row.retry,
    row.poison,
    row.question === "trace" ? trace : null,
  ]);
}

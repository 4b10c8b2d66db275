/** The bench without its command line: plan, run, compare, and the types of its document. */

export { runBench, loadTrace, type BenchObserver, type BenchRunOptions, type BenchTrace } from "./bench.js";
export {
  compareDocuments,
  comparisonToJson,
  verdictOf,
  type BenchComparison,
  type RowComparison,
} from "./compare.js";
export { expandMatrix, type MatrixAxes, type RowConfig } from "./matrix.js";
export { planBench, type BenchOptionTexts, type BenchPlan } from "./options.js";
export { QUESTIONS, type Question, type QuestionName } from "./questions.js";
export {
  BENCH_SCHEMA,
  parseBenchDocument,
  type BenchDocument,
  type BenchRow,
  type ComparisonJson,
  type LatencyJson,
  type MachineJson,
  type RateJson,
  type RowConfigJson,
  type TimerJson,
  type TraceJson,
  type WorkCounts,
} from "./results.js";

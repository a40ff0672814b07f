/**
 * For those who write an eviction policy of their own, or choose one: a check that it keeps its contract, workloads that can be
 * repeated, and the hit ratio of any strategy on any of them.
 *
 * @module
 */
export { checkEvictionPolicy, type ConformanceOptions } from './policy-conformance.ts';
export { hitRatio, hitRatioOf } from './hit-ratio.ts';
export {
  loopWorkload,
  oneHitWorkload,
  recencyWorkload,
  scanWorkload,
  seeded,
  shiftingWorkload,
  zipf,
  zipfWorkload,
  type Workload,
} from './workloads.ts';

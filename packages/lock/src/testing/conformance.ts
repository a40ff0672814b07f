import { deadlockCases } from './cases/deadlock.ts';
import { electionCases } from './cases/election.ts';
import { exclusiveCases } from './cases/exclusive.ts';
import { inspectionCases } from './cases/inspection.ts';
import { leaseCases } from './cases/lease.ts';
import { reentryCases } from './cases/reentry.ts';
import { semaphoreCases } from './cases/semaphore.ts';
import { sharedCases } from './cases/shared.ts';
import type { ConformanceCase } from './conformance-case.ts';

/** What every backend must do; each case is independent of the others and of any test framework. */
export const lockConformance: readonly ConformanceCase[] = [
  ...exclusiveCases,
  ...sharedCases,
  ...reentryCases,
  ...leaseCases,
  ...semaphoreCases,
  ...deadlockCases,
  ...inspectionCases,
  ...electionCases,
];

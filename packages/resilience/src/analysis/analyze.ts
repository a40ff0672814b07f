import type { PipelineStats } from '../pipeline/pipeline.ts';
import { findingsOf, type Finding } from './findings.ts';

/** What statistics advise. */
export interface RetryAnalysis {
  /** Most important first. */
  readonly findings: readonly Finding[];
}

/** Advice for policies by name, from their statistics alone. */
export function analyzeStats(policies: Readonly<Record<string, PipelineStats>>): RetryAnalysis {
  const findings = Object.entries(policies).flatMap(([name, stats]) => findingsOf(name, stats));
  return { findings: findings.sort((a, b) => b.severity - a.severity) };
}

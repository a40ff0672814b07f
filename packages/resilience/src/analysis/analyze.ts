import type { PipelineStats } from '../pipeline/pipeline.ts';
import type { PolicyStats } from '../engine/policy.ts';
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

/** The statistics of one kind of policy in a pipeline. */
export function statsOfKind<S extends PolicyStats>(stats: PipelineStats, kind: S['kind']): S | undefined {
  return stats.policies.find((policy): policy is S => policy.kind === kind);
}

/**
 * For backends and for your own tests: the conformance suite that every backend passes, and a check of what a run lost.
 *
 * @module
 */
export { conformanceScenarios } from './conformance.ts';
export type { ConformanceContext, ConformanceScenario } from './scenario.ts';

/**
 * What every backend of `@xiaoke/lock` must do, as cases that any test framework can run.
 *
 * @module
 */
export { lockConformance } from './conformance.ts';
export type { Capability, ConformanceCase, ConformanceContext } from './conformance-case.ts';

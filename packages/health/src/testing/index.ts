/**
 * For tests of code that depends on health: a checker whose result is set by hand.
 *
 * @module
 */
export { ManualHealthChecker } from '../checkers/process.ts';

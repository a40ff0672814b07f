/**
 * For those who write a {@link RateLimitStore} of their own: the checks that ours passes, for any test runner.
 *
 * To test code that uses the policies, hold time with `FakeClock` of `@xiaoke/core/testing` (every policy takes a `clock`) and
 * make faults with `faultInjection`.
 *
 * @module
 */
export { rateLimitStoreChecks, type RateLimitStoreCheck } from './rate-limit-store-checks.ts';

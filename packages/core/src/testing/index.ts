/**
 * For tests of the packages and of your own code on them: a clock to move by hand, a logger and a metrics sink that keep
 * what they are given, waiting without sleeping, and a check that nothing was left alive.
 *
 * @module
 */
export { FakeClock } from './fake-clock.ts';
export { eventually, type EventuallyOptions } from './eventually.ts';
export {
  recordingLogger,
  recordingMetrics,
  type LoggedLine,
  type RecordingLogger,
  type RecordingMetrics,
} from './recording.ts';
export { trackLeaks } from './leaks.ts';

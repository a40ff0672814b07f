import type { Logger } from '@xiaoke/core';
import { titleOf, type AlertSink } from './sink.ts';

/** Writes notifications to a log: `error` for firing, `info` for resolved. */
export function logSink(logger: Logger): AlertSink {
  return {
    name: 'log',
    send: (notification) => {
      const alerts = notification.alerts.map(({ name, state, labels, annotations, value }) => ({
        name,
        state,
        labels,
        value,
        summary: annotations['summary'],
      }));
      if (notification.status === 'firing') logger.error({ alerts }, titleOf(notification));
      else logger.info({ alerts }, titleOf(notification));
      return Promise.resolve();
    },
  };
}

import { sleep, type Background, type Clock, type Logger } from '@xiaoke/core';
import { labelKey, projectLabels } from '../store/promql/values.ts';
import type { AlertStateStorage, SavedState } from './alert-state.ts';
import type { Alert } from './rule-state.ts';
import type { AlertNotification, AlertSink } from './sinks/sink.ts';

/** How alerts are put together and repeated, in milliseconds. */
export interface NotifierOptions {
  readonly groupBy: readonly string[];
  readonly groupWait: number;
  readonly groupInterval: number;
  readonly repeatInterval: number;
  readonly sinkTimeout: number;
  readonly attempts: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly background: Background;
  readonly storage: AlertStateStorage;
  readonly onSent: (sink: string, outcome: 'sent' | 'failed') => void;
}

interface Group {
  readonly labels: Readonly<Record<string, string>>;
  due: number;
  busy: boolean;
}

type Told = Record<string, { state: 'firing' | 'resolved'; at: number }>;

/** Tells alerts to the sinks: grouped, once for each change, and again while they go on firing. */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #sinks: readonly AlertSink[];
  readonly #groups = new Map<string, Group>();
  readonly #closing = new AbortController();
  #told: Told = {};

  constructor(sinks: readonly AlertSink[], options: NotifierOptions) {
    this.#sinks = sinks;
    this.#options = options;
  }

  get told(): SavedState['told'] {
    return this.#told;
  }

  restore(told: SavedState['told']): void {
    this.#told = { ...told };
  }

  close(): void {
    this.#closing.abort();
  }

  /** Looks at all alerts that may be told and tells those groups whose time has come. */
  review(alerts: readonly Alert[], now: number): void {
    const groups = new Map<string, Alert[]>();
    for (const alert of alerts.filter((one) => this.#isNews(one, now))) {
      const labels = projectLabels(alert.labels, this.#options.groupBy, true);
      const key = labelKey(labels);
      if (!this.#groups.has(key)) {
        this.#groups.set(key, { labels, due: now + this.#options.groupWait, busy: false });
      }
      groups.set(key, [...(groups.get(key) ?? []), alert]);
    }
    for (const [key, group] of this.#groups) {
      const news = groups.get(key) ?? [];
      if (news.length > 0 && !group.busy && now >= group.due) this.#tellGroup(key, group, news, now);
      else if (news.length === 0 && now > group.due + this.#options.groupInterval) this.#groups.delete(key);
    }
    this.#forget(alerts, now);
  }

  #isNews({ fingerprint, state }: Alert, now: number): boolean {
    const told = Object.hasOwn(this.#told, fingerprint) ? this.#told[fingerprint] : undefined;
    if (state === 'pending') return false;
    // Nobody needs to hear the end of what nobody heard of.
    if (state === 'resolved') return told?.state === 'firing';
    return told?.state !== 'firing' || now - told.at >= this.#options.repeatInterval;
  }

  #tellGroup(key: string, group: Group, alerts: readonly Alert[], now: number): void {
    group.busy = true;
    group.due = now + this.#options.groupInterval;
    this.#options.background.run(async () => {
      try {
        await this.#tell(key, group, alerts, now);
      } finally {
        group.busy = false;
      }
    }, 'tell alerts');
  }

  async #tell(key: string, group: Group, alerts: readonly Alert[], now: number): Promise<void> {
    const { storage, repeatInterval } = this.#options;
    const mine: Alert[] = [];
    for (const alert of alerts) {
      const state = stateOf(alert);
      const claim = await storage.claim(alert.fingerprint, state);
      if (claim === 'claimed') mine.push(alert);
      else if (claim === 'told') this.#told[alert.fingerprint] = { state, at: now };
    }
    if (mine.length === 0) return;
    const status = mine.some(({ state }) => state === 'firing') ? 'firing' : 'resolved';
    const notification: AlertNotification = {
      groupLabels: group.labels,
      groupKey: key,
      status,
      alerts: mine,
    };
    const results = await Promise.all(this.#sinks.map((sink) => this.#send(sink, notification)));
    const sent = this.#sinks.length === 0 || results.includes(true);
    for (const alert of mine) {
      const state = stateOf(alert);
      if (sent) this.#told[alert.fingerprint] = { state, at: now };
      // A little less than the interval, so that the repeat finds the claim free.
      await storage.settle(alert.fingerprint, state, sent, repeatInterval * 0.9);
    }
  }

  async #send(sink: AlertSink, notification: AlertNotification): Promise<boolean> {
    const { attempts, clock, logger, onSent, sinkTimeout } = this.#options;
    for (let attempt = 1; attempt <= attempts && !this.#closing.signal.aborted; attempt++) {
      const limit = new AbortController();
      const timer = clock.setTimeout(() => limit.abort(), sinkTimeout).unref();
      const signal = AbortSignal.any([limit.signal, this.#closing.signal]);
      try {
        await Promise.race([sink.send(notification, { signal }), rejectOn(signal)]);
        onSent(sink.name, 'sent');
        return true;
      } catch (error) {
        logger.warn({ err: error, sink: sink.name, attempt }, 'a notification was not taken');
      } finally {
        timer.cancel();
      }
      const pause = Math.min(1_000 * 2 ** (attempt - 1), 30_000);
      if (attempt < attempts)
        await sleep(pause, { clock, signal: this.#closing.signal, ref: false }).catch(() => {});
    }
    onSent(sink.name, 'failed');
    return false;
  }

  #forget(alerts: readonly Alert[], now: number): void {
    const known = new Set(alerts.map(({ fingerprint }) => fingerprint));
    for (const [fingerprint, { at }] of Object.entries(this.#told)) {
      if (!known.has(fingerprint) && now - at > this.#options.repeatInterval) delete this.#told[fingerprint];
    }
  }
}

function stateOf({ state }: Alert): 'firing' | 'resolved' {
  return state === 'resolved' ? 'resolved' : 'firing';
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('the sink took too long')), { once: true });
  });
}

import { sleep, withTimeout, type Background, type Clock, type Logger } from '@xiaoke/core';
import { labelKey, projectLabels } from '../store/promql/values.ts';
import type { AlertStateStorage, Claim, SavedState } from './alert-state.ts';
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

// How long the shared state may take to say who tells, in milliseconds.
const CLAIM_TIMEOUT = 2_000;

/**
 * Tells alerts to one sink: grouped, once for each change, and again while they go on firing. Each sink has its own, so
 * that one that is down misses nothing because others are not.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #sink: AlertSink;
  readonly #groups = new Map<string, Group>();
  readonly #closing = new AbortController();
  #told: Told = {};

  constructor(sink: AlertSink, options: NotifierOptions) {
    this.#sink = sink;
    this.#options = options;
  }

  /** By the sink's name and the alert's fingerprint. */
  get told(): SavedState['told'] {
    const entries = Object.entries(this.#told);
    return Object.fromEntries(entries.map(([fingerprint, told]) => [this.#keyOf(fingerprint), told]));
  }

  /** Takes what is its own of everything that was told. */
  restore(told: SavedState['told']): void {
    const prefix = this.#keyOf('');
    for (const [key, one] of Object.entries(told))
      if (key.startsWith(prefix)) this.#told[key.slice(prefix.length)] ??= one;
  }

  close(): void {
    this.#closing.abort();
  }

  /** Looks at all alerts that may be told and tells those groups whose time has come. */
  review(alerts: readonly Alert[], now: number): void {
    const groups = new Map<string, Alert[]>();
    for (const alert of alerts.filter((one) => this.#isNews(one, now))) {
      const groupBy = this.#sink.keepAlive === undefined ? this.#options.groupBy : [];
      const labels = projectLabels(alert.labels, groupBy, true);
      const key = labelKey(labels);
      if (!this.#groups.has(key)) {
        const wait = this.#sink.keepAlive === undefined ? this.#options.groupWait : 0;
        this.#groups.set(key, { labels, due: now + wait, busy: false });
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
    const repeat = this.#sink.keepAlive ?? this.#options.repeatInterval;
    const due = told !== undefined && now - told.at >= repeat;
    // Nobody needs to hear the end of what nobody heard of.
    if (state === 'resolved') return told?.state === 'firing' || (due && this.#sink.keepAlive !== undefined);
    return told?.state !== 'firing' || due;
  }

  #tellGroup(key: string, group: Group, alerts: readonly Alert[], now: number): void {
    group.busy = true;
    group.due = now + (this.#sink.keepAlive === undefined ? this.#options.groupInterval : 0);
    this.#options.background.run(async () => {
      try {
        await this.#tell(key, group, alerts, now);
      } finally {
        group.busy = false;
      }
    }, 'tell alerts');
  }

  async #tell(key: string, group: Group, alerts: readonly Alert[], now: number): Promise<void> {
    const mine: Alert[] = [];
    for (const alert of alerts) {
      const state = stateOf(alert);
      const claim = await this.#claim(alert.fingerprint, state);
      if (claim === 'claimed') mine.push(alert);
      else if (claim === 'told') this.#told[alert.fingerprint] = { state, at: now };
    }
    if (mine.length === 0) return;
    const status = mine.some(({ state }) => state === 'firing') ? 'firing' : 'resolved';
    const sent = await this.#send({ groupLabels: group.labels, groupKey: key, status, alerts: mine });
    for (const alert of mine) {
      const state = stateOf(alert);
      if (sent) this.#told[alert.fingerprint] = { state, at: now };
      await this.#settle(alert.fingerprint, state, sent);
    }
  }

  // A state that is away must not keep alerts from being told: it may be what they are about. Better told twice.
  async #claim(fingerprint: string, state: 'firing' | 'resolved'): Promise<Claim> {
    const { storage, logger } = this.#options;
    // Every instance keeps its own connection to such a sink alive; it knows what it was told before.
    if (this.#sink.keepAlive !== undefined) return 'claimed';
    try {
      const claim = storage.claim(this.#keyOf(fingerprint), state);
      return await withTimeout(claim, CLAIM_TIMEOUT, 'claiming an alert', { ref: false });
    } catch (error) {
      logger.warn({ err: error }, 'the state of alerts is away; other instances may tell the same');
      return 'claimed';
    }
  }

  async #settle(fingerprint: string, state: 'firing' | 'resolved', sent: boolean): Promise<void> {
    const { storage, repeatInterval, logger } = this.#options;
    if (this.#sink.keepAlive !== undefined) return;
    try {
      // A little less than the interval, so that the repeat finds the claim free.
      const settled = storage.settle(this.#keyOf(fingerprint), state, sent, repeatInterval * 0.9);
      await withTimeout(settled, CLAIM_TIMEOUT, 'settling an alert', { ref: false });
    } catch (error) {
      logger.warn({ err: error }, 'the state of alerts is away; other instances may tell the same');
    }
  }

  #keyOf(fingerprint: string): string {
    return `${this.#sink.name} ${fingerprint}`;
  }

  async #send(notification: AlertNotification): Promise<boolean> {
    const { attempts, clock, logger, onSent, sinkTimeout } = this.#options;
    const sink = this.#sink;
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

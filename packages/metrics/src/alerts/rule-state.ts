import { labelKey, type Labels } from '../store/promql/values.ts';
import type { AlertingRule, CompiledRule } from './rules.ts';

/** Where an alert stands. */
export type AlertState = 'pending' | 'firing' | 'resolved';

/** One alert: a rule and the labels it holds for. */
export interface Alert {
  readonly name: string;
  /** With `alertname` and the rule's own. */
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: AlertState;
  readonly value: number;
  /** When the condition began to hold, in milliseconds since the epoch. */
  readonly activeAt: number;
  readonly firedAt: number | undefined;
  readonly resolvedAt: number | undefined;
  /** One text for its labels. */
  readonly fingerprint: string;
}

/** One result of a rule's expression. */
export interface RuleSample {
  readonly labels: Labels;
  readonly value: number;
}

interface Tracked {
  alert: Alert;
  keepSince: number | undefined;
  /** Until when a restored alert is believed although nothing shows it. */
  trustedUntil: number;
}

// Prometheus keeps resolved alerts this long, so that a lost notification is made good.
const RESOLVED_RETENTION = 15 * 60_000;

/** The alerts of one rule, moved from state to state exactly as Prometheus does. */
export class RuleState {
  readonly compiled: CompiledRule;
  readonly name: string;
  readonly #alerts = new Map<string, Tracked>();
  lastEvaluation: number | undefined;
  lastError: string | undefined;

  constructor(compiled: CompiledRule) {
    this.compiled = compiled;
    this.name = (compiled.rule as AlertingRule).alert;
  }

  get alerts(): readonly Alert[] {
    return [...this.#alerts.values()].map(({ alert }) => alert);
  }

  /** Takes the results of an evaluation at `now`; returns the alerts that began to fire or were resolved. */
  update(samples: readonly RuleSample[], now: number, external: Labels): readonly Alert[] {
    const changed: Alert[] = [];
    const seen = new Set<string>();
    for (const sample of samples) {
      const fresh = this.#describe(sample, now, external);
      seen.add(fresh.fingerprint);
      const tracked = this.#alerts.get(fresh.fingerprint);
      if (tracked === undefined || tracked.alert.state === 'resolved') {
        this.#alerts.set(fresh.fingerprint, { alert: fresh, keepSince: undefined, trustedUntil: 0 });
      } else {
        tracked.alert = { ...tracked.alert, value: fresh.value, annotations: fresh.annotations };
        tracked.keepSince = undefined;
      }
    }
    for (const [fingerprint, tracked] of this.#alerts) {
      const next = this.#move(tracked, seen.has(fingerprint), now);
      if (next === undefined) this.#alerts.delete(fingerprint);
      else if (next !== tracked.alert) changed.push((tracked.alert = next));
    }
    this.lastEvaluation = now;
    this.lastError = undefined;
    return changed;
  }

  /**
   * Puts back an alert of an earlier life, so that its `for` does not start again. Until `trustedUntil` it does not end:
   * a source that has just started too has no samples yet.
   */
  restore(alert: Alert, trustedUntil: number): void {
    const known = this.#alerts.get(alert.fingerprint);
    if (known !== undefined && known.alert.activeAt <= alert.activeAt) return;
    this.#alerts.set(alert.fingerprint, { alert, keepSince: undefined, trustedUntil });
  }

  /** Whether a saved alert is this rule's. Several rules may share a name; the labels that each adds tell them apart. */
  owns(alert: Alert): boolean {
    const added = Object.entries(this.compiled.rule.labels ?? {});
    return (
      alert.name === this.name &&
      added.every(([name, text]) => {
        const own = Object.hasOwn(alert.labels, name) ? alert.labels[name] : '';
        return text.includes('{{') || own === text;
      })
    );
  }

  #move(tracked: Tracked, holds: boolean, now: number): Alert | undefined {
    const { alert } = tracked;
    if (alert.state === 'resolved') {
      return now - (alert.resolvedAt ?? now) > RESOLVED_RETENTION ? undefined : alert;
    }
    if (holds) {
      const due = alert.state === 'pending' && now - alert.activeAt >= this.compiled.holdFor;
      return due ? { ...alert, state: 'firing', firedAt: now } : alert;
    }
    if (now < tracked.trustedUntil) return alert;
    if (alert.state === 'pending') return undefined;
    tracked.keepSince ??= now;
    if (this.compiled.keepFiringFor > 0 && now - tracked.keepSince < this.compiled.keepFiringFor)
      return alert;
    return { ...alert, state: 'resolved', resolvedAt: now };
  }

  #describe({ labels, value }: RuleSample, now: number, external: Labels): Alert {
    const { __name__: _name, ...own } = labels;
    const data = { labels: own, value };
    const all: Record<string, string> = { ...external, ...own };
    for (const [name, template] of this.compiled.labels) all[name] = template(data);
    all['alertname'] = this.name;
    for (const [name, text] of Object.entries(all)) if (text === '') delete all[name];
    const annotations = this.compiled.annotations.map(([name, template]) => [name, template(data)] as const);
    return {
      name: this.name,
      labels: all,
      annotations: Object.fromEntries(annotations),
      state: 'pending',
      value,
      activeAt: now,
      firedAt: undefined,
      resolvedAt: undefined,
      fingerprint: labelKey(all),
    };
  }
}

import type { BoundGauge } from '@xiaoke/core';
import { formatValue } from '../names.ts';
import {
  Family,
  type EmitSample,
  type FamilyContext,
  type FamilyDefinition,
  type MetricType,
} from './family.ts';
import type { LabelRecord } from './label-schema.ts';
import { Series } from './series.ts';
import type { Slots } from './value-pages.ts';

/** A gauge with its labels fixed. */
export class GaugeSeries extends Series implements BoundGauge {
  protected readonly family: GaugeFamily;

  constructor(family: GaugeFamily, values: readonly string[], slots: Slots) {
    super(values, slots);
    this.family = family;
  }

  set(value: number): void {
    if (typeof value === 'number') this.page[this.offset] = value;
    else this.family.reject('a gauge takes numbers');
  }

  inc(amount = 1): void {
    if (Number.isFinite(amount)) (this.page[this.offset] as number) += amount;
    else this.family.reject('a gauge grows by finite amounts');
  }

  dec(amount = 1): void {
    this.inc(-amount);
  }

  reset(): void {
    this.page[this.offset] = 0;
  }
}

/** Goes away `ttl` after its last update, and comes back with the next. */
class ExpiringGauge extends GaugeSeries {
  touched = 0;

  override set(value: number): void {
    this.#touch();
    super.set(value);
  }

  override inc(amount = 1): void {
    this.#touch();
    super.inc(amount);
  }

  #touch(): void {
    this.touched = this.family.context.now();
    this.family.revive(this);
  }
}

/** Sums what is added beyond the limit; a value that is set there would stand for no series at all. */
class OverflowGauge extends GaugeSeries {
  override set(): void {
    // Counted as dropped by the lookup.
  }
}

/** A gauge with labels. */
export class LabelledGauge {
  readonly #family: GaugeFamily;

  constructor(family: GaugeFamily) {
    this.#family = family;
  }

  set(labels: LabelRecord, value: number): void {
    this.#family.lookup(labels).set(value);
  }

  inc(labels: LabelRecord, amount = 1): void {
    this.#family.lookup(labels).inc(amount);
  }

  dec(labels: LabelRecord, amount = 1): void {
    this.#family.lookup(labels).dec(amount);
  }

  with(labels: LabelRecord): GaugeSeries {
    return this.#family.lookup(labels);
  }

  remove(labels: LabelRecord): boolean {
    return this.#family.remove(labels);
  }

  reset(): void {
    this.#family.reset();
  }
}

/** All series of a gauge, or of an info metric. */
export class GaugeFamily extends Family<GaugeSeries> {
  readonly type: MetricType;
  readonly slots = 1;
  readonly #ttl: number | undefined;

  constructor(
    definition: FamilyDefinition & { readonly ttl?: number | undefined; readonly info?: boolean },
    context: FamilyContext,
  ) {
    super(definition, context);
    this.type = definition.info === true ? 'info' : 'gauge';
    this.#ttl = definition.ttl;
    if (this.schema.names.length === 0) this.preset();
  }

  text(series: GaugeSeries): string {
    if (series.head === undefined) {
      const labels = this.labelText(series);
      series.head = labels === '' ? `${this.name} ` : [this.name, '{', labels, '} '].join('');
    }
    return `${series.head}${formatValue(series.page[series.offset] ?? 0)}\n`;
  }

  samples(series: GaugeSeries, emit: EmitSample): void {
    emit('', undefined, series.page[series.offset] ?? 0);
  }

  /** Removes what was not updated for longer than the `ttl`. */
  expire(): void {
    if (this.#ttl === undefined) return;
    const limit = this.context.now() - this.#ttl;
    for (const series of this.series) {
      if (series instanceof ExpiringGauge && series.touched < limit) this.detach(series);
    }
  }

  /** Brings back an expired series that is updated again. */
  revive(series: GaugeSeries): void {
    this.attach(series);
  }

  protected make(values: readonly string[], overflow: boolean): GaugeSeries {
    const slots = this.context.pages.allocate(1);
    if (overflow) return new OverflowGauge(this, values, slots);
    return this.#ttl === undefined
      ? new GaugeSeries(this, values, slots)
      : new ExpiringGauge(this, values, slots);
  }
}

import { createHash, randomUUID } from 'node:crypto';
import { InvalidOptionError, toMilliseconds, withTimeout, type Duration, type Timer } from '@xiaoke/core';
import { CanaryError, ConfigInvalidError } from './errors.ts';
import type { CanaryEvent } from './events.ts';
import type { ResolvedOptions } from './options.ts';
import type { PathInput } from './path.ts';
import { checkWriteOptions, type RuntimeControl, type WriteOptions } from './runtime-control.ts';
import { RuntimeValues } from './runtime-values.ts';
import type { CanaryReport, ConfigStore, StoredCanary } from './store.ts';
import type { Updates } from './updates.ts';

/** What a canary tries: values by path. */
export type CanaryEdits = Readonly<Record<string, unknown>> | Iterable<readonly [PathInput, unknown]>;

/** On whom and how long it is tried. */
export interface CanaryOptions extends Pick<WriteOptions, 'author' | 'reason'> {
  /** The share of instances, over 0 and up to 100. The same instances take part every time; a larger share only adds some. */
  readonly percent?: number;
  /** Instances that take part in any case, by their `instanceId`. */
  readonly instances?: readonly string[];
  /** How long it is watched before it is promoted. @default '10m' */
  readonly bake?: Duration;
}

/** A canary that runs. */
export interface CanaryInfo {
  readonly id: string;
  readonly percent: number;
  /** The paths it changes. */
  readonly paths: readonly string[];
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly endsAt: number;
  readonly author?: string;
  readonly reason?: string;
  /** What the instances that take part found. */
  readonly reports: readonly CanaryReport[];
}

/**
 * Tries changes on some instances. When one of them refuses them (not valid there, vetoed, or `canaryCheck` says that it
 * is not well), the trial ends everywhere at once; when its time passes without that, it becomes a version by itself.
 */
export interface CanaryControl {
  /** Starts a trial; rejects when one runs already or the changes are not valid here. Resolves to its id. */
  start(edits: CanaryEdits, options: CanaryOptions): Promise<string>;
  /** The trial that runs. */
  status(): Promise<CanaryInfo | undefined>;
  /** Makes it a version for all instances now; resolves to the version. */
  promote(options?: Pick<WriteOptions, 'author' | 'reason'>): Promise<number>;
  /** Ends it everywhere; resolves to `false` when none ran. */
  abort(reason?: string): Promise<boolean>;
  /** Whether this instance is trying it now. */
  readonly active: boolean;
}

interface Plan {
  readonly document: string;
  readonly percent: number;
  readonly instances: readonly string[];
  readonly bake: number;
  readonly author?: string;
  readonly reason?: string;
}

/**
 * Whether an instance belongs to the first `percent` of a fleet: by a hash, so that it is the same after a restart, and
 * so that a larger share keeps all of a smaller one.
 */
export function takesPart(instance: string, salt: string, percent: number): boolean {
  const hash = createHash('sha256').update(`${salt}\0${instance}`).digest().readUInt32BE(0);
  return hash / 2 ** 32 < percent / 100;
}

/** What a canary works with. */
export interface CanaryContext {
  readonly options: ResolvedOptions;
  readonly updates: Updates;
  readonly runtime: RuntimeControl;
  readonly store: ConfigStore;
  readonly instance: string;
}

interface Trial {
  readonly id: string;
  readonly plan: Plan;
  readonly here: boolean;
  readonly timers: Timer[];
}

const CHECKS_PER_BAKE = 10;
const CHECK_TIMEOUT = 5_000;

/** This instance's part in canaries. */
export class Canary implements CanaryControl {
  readonly #context: CanaryContext;
  #trial: Trial | undefined;

  constructor(context: CanaryContext) {
    this.#context = context;
  }

  get active(): boolean {
    return this.#trial?.here === true && this.#context.runtime.trial !== undefined;
  }

  async start(edits: CanaryEdits, options: CanaryOptions): Promise<string> {
    const plan = makePlan(edits, options);
    const { updates, runtime, store } = this.#context;
    await updates.serial.run(async () => {
      const proposal = await runtime.preview((values) => applyPlan(values, plan));
      if ('issues' in proposal) throw new ConfigInvalidError(proposal.issues);
    });
    const id = randomUUID();
    if (!(await store.startCanary({ id, plan: JSON.stringify(plan) }))) {
      throw new CanaryError('A canary is running already');
    }
    return id;
  }

  async status(): Promise<CanaryInfo | undefined> {
    const running = await this.#context.store.canary();
    if (running === undefined) return undefined;
    const { id, startedAt } = running.canary;
    const { document, bake, percent, author, reason } = parsePlan(running.canary);
    return {
      id,
      percent,
      paths: RuntimeValues.parse(document).paths,
      startedAt,
      endsAt: startedAt + bake,
      ...(author === undefined ? {} : { author }),
      ...(reason === undefined ? {} : { reason }),
      reports: running.reports,
    };
  }

  async promote(options: Pick<WriteOptions, 'author' | 'reason'> = {}): Promise<number> {
    checkWriteOptions(options);
    const running = await this.#context.store.canary();
    if (running === undefined) throw new CanaryError('No canary is running');
    return await this.#promote(running.canary, options);
  }

  async abort(reason = 'aborted by hand'): Promise<boolean> {
    const running = await this.#context.store.canary();
    return running !== undefined && (await this.#abort(running.canary.id, reason));
  }

  /** Looks what the store says and does this instance's part; called on every hint, when nothing else runs. */
  async follow(): Promise<void> {
    const running = await this.#context.store.canary();
    const id = running?.canary.id;
    if (this.#trial !== undefined && this.#trial.id !== id) await this.#leave();
    if (running === undefined) return;
    if (this.#trial === undefined) await this.#join(running.canary);
    const refused = running.reports.find(({ ok }) => !ok);
    if (refused !== undefined)
      await this.#abort(running.canary.id, `${refused.instance}: ${refused.code ?? 'not well'}`);
  }

  async close(): Promise<void> {
    for (const timer of this.#trial?.timers ?? []) timer.cancel();
  }

  async #join(canary: StoredCanary): Promise<void> {
    const { options, instance, updates } = this.#context;
    const plan = parsePlan(canary);
    const here = plan.instances.includes(instance) || takesPart(instance, options.namespace, plan.percent);
    const trial: Trial = { id: canary.id, plan, here, timers: [] };
    this.#trial = trial;
    this.#emit(canary.id, 'started');
    const left = Math.max(0, canary.startedAt + plan.bake - options.clock.now());
    // Spread, so that the instances do not all end it at the same moment.
    const end = left + options.random() * Math.min(1_000, plan.bake / 10);
    trial.timers.push(
      options.clock
        .setTimeout(() => updates.background.run(() => this.#finish(canary), 'end a canary'), end)
        .unref(),
    );
    if (here) await this.#try(trial);
  }

  async #try(trial: Trial): Promise<void> {
    const { runtime, options, updates } = this.#context;
    runtime.trial = (values) => applyPlan(values, trial.plan);
    const error = await runtime.offer('canary');
    if (error !== undefined) {
      runtime.trial = undefined;
      await runtime.offer('canary');
      this.#emit(trial.id, 'refused', error.code);
      return await this.#report(trial.id, { ok: false, code: error.code });
    }
    this.#emit(trial.id, 'applied');
    await this.#report(trial.id, { ok: true });
    if (options.canaryCheck === undefined) return;
    const period = Math.max(10, Math.min(5_000, trial.plan.bake / CHECKS_PER_BAKE));
    trial.timers.push(
      options.clock
        .setInterval(() => updates.background.run(() => this.#examine(trial), 'check a canary'), period)
        .unref(),
    );
  }

  async #examine(trial: Trial): Promise<void> {
    const { options } = this.#context;
    if (this.#trial !== trial) return;
    const well = await withTimeout(
      Promise.resolve().then(options.canaryCheck),
      CHECK_TIMEOUT,
      'canaryCheck',
      {
        clock: options.clock,
        ref: false,
      },
    ).catch(() => false);
    if (well || this.#trial !== trial) return;
    this.#emit(trial.id, 'refused', 'CANARY_CHECK_FAILED');
    await this.#report(trial.id, { ok: false, code: 'CANARY_CHECK_FAILED' });
    await this.#abort(trial.id, 'CANARY_CHECK_FAILED');
  }

  async #leave(): Promise<void> {
    const { runtime } = this.#context;
    const trial = this.#trial;
    this.#trial = undefined;
    for (const timer of trial?.timers ?? []) timer.cancel();
    if (trial === undefined) return;
    this.#emit(trial.id, 'ended');
    if (runtime.trial === undefined) return;
    runtime.trial = undefined;
    await runtime.offer('canary');
  }

  /** The time is over: every instance sees to it, so that it ends also when the one that started it is gone. */
  async #finish(canary: StoredCanary): Promise<void> {
    const running = await this.#context.store.canary();
    if (running?.canary.id !== canary.id || this.#context.updates.closed) return;
    if (running.reports.length === 0) return void (await this.#abort(canary.id, 'no instance took part'));
    if (running.reports.every(({ ok }) => ok)) await this.#promote(canary, {});
  }

  async #promote(canary: StoredCanary, options: Pick<WriteOptions, 'author' | 'reason'>): Promise<number> {
    const { updates, runtime, store } = this.#context;
    const plan = parsePlan(canary);
    const version = await updates.serial.run(async () => {
      const { author = plan.author, reason = plan.reason } = options;
      const who = {
        ...(author === undefined ? {} : { author }),
        ...(reason === undefined ? {} : { reason }),
      };
      return await runtime.write({ kind: 'canary', edit: (values) => applyPlan(values, plan) }, who);
    });
    if (await store.endCanary(canary.id)) this.#emit(canary.id, 'promoted');
    return version;
  }

  async #abort(id: string, reason: string): Promise<boolean> {
    const ended = await this.#context.store.endCanary(id);
    if (ended) this.#emit(id, 'aborted', reason);
    return ended;
  }

  async #report(id: string, report: Omit<CanaryReport, 'instance'>): Promise<void> {
    await this.#context.store.reportCanary(id, { instance: this.#context.instance, ...report });
  }

  #emit(id: string, step: CanaryEvent['step'], reason?: string): void {
    const { options, updates } = this.#context;
    options.logger.info({ canary: id, step, reason }, 'a canary went on');
    updates.events.emit('canary', { id, step, ...(reason === undefined ? {} : { reason }) });
  }
}

function makePlan(edits: CanaryEdits, options: CanaryOptions): Plan {
  const list = Symbol.iterator in edits ? [...edits] : Object.entries(edits);
  const values = list.reduce((sum, [path, value]) => sum.set(path, value), RuntimeValues.empty);
  const { percent = 0, instances = [], author, reason } = checkWriteOptions(options) as CanaryOptions;
  if (list.length === 0) throw new InvalidOptionError('edits', 'must change something');
  if (
    typeof percent !== 'number' ||
    !(percent >= 0 && percent <= 100) ||
    (percent === 0 && instances.length === 0)
  ) {
    throw new InvalidOptionError('percent', 'must be over 0 and up to 100, unless "instances" are named');
  }
  return {
    document: values.serialize(),
    percent,
    instances,
    bake: toMilliseconds(options.bake ?? '10m', 'bake', { min: 10 }),
    ...(author === undefined ? {} : { author }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function applyPlan(values: RuntimeValues, plan: Plan): RuntimeValues {
  return values.apply(RuntimeValues.empty, RuntimeValues.parse(plan.document));
}

function parsePlan(canary: StoredCanary): Plan {
  try {
    return JSON.parse(canary.plan) as Plan;
  } catch {
    throw new CanaryError('The plan of the canary cannot be read');
  }
}

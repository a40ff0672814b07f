import { Background, type Clock, type Logger, type Random, type Timer } from '@xiaoke/core';
import type { ServiceChange, ServiceReader } from './backend.ts';
import type { ServiceView } from './service-view.ts';

/** What keeping a view up to date needs. */
export interface SyncHost {
  backend(): Promise<ServiceReader>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The longest pause between two looks, in milliseconds: a change that was not told is noticed by then. */
  readonly repairMs: number;
  /** Called after the view changed. */
  onChange(view: ServiceView): void;
}

const MIN_PAUSE = 100;
const RETRY = 1_000;
/** A lease that ended is looked for this much later, so that of many watchers mostly one does the work. */
const EXPIRY_SPREAD = 500;

/**
 * Keeps the view of one service up to date: by the changes that are told, and, since those are only a hint, by looking
 * again when a lease can end, after every gap, and every `repairMs`.
 */
export class ServiceSync {
  readonly view: ServiceView;
  readonly #host: SyncHost;
  readonly #background: Background;
  #timer: Timer | undefined;
  #reading = false;
  #again = false;
  #closed = false;

  constructor(view: ServiceView, host: SyncHost) {
    this.view = view;
    this.#host = host;
    this.#background = new Background({ logger: host.logger });
    this.#background.run(() => this.#start(), `watch the service ${view.service}`);
  }

  /** A change was told. */
  told(change: ServiceChange): void {
    const changed = this.view.applyChange(change);
    if (changed === undefined) this.refresh();
    else if (changed) this.#host.onChange(this.view);
  }

  /** Looks again now. */
  refresh(): void {
    if (this.#closed) return;
    this.#again = true;
    if (!this.#reading) this.#background.run(() => this.#read(), `read the service ${this.view.service}`);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#background.run(
      async () => await (await this.#host.backend()).unlisten(this.view.service),
      'end a watch',
    );
  }

  async #start(): Promise<void> {
    const backend = await this.#host.backend();
    if (this.#closed) return;
    // Listen first, so that no change falls between the two.
    await backend.listen(this.view.service);
    this.refresh();
  }

  async #read(): Promise<void> {
    this.#reading = true;
    let pause = RETRY;
    // A question that comes up while one is under way is asked again, once.
    while (this.#again && !this.#closed) {
      this.#again = false;
      pause = await this.#readOnce();
    }
    this.#reading = false;
    this.#arm(pause);
  }

  async #readOnce(): Promise<number> {
    const { logger } = this.#host;
    try {
      const backend = await this.#host.backend();
      const asked = this.view.known;
      const state = await backend.read(this.view.service, asked);
      const changed = this.view.apply(state, asked);
      if (changed === 'outdated') this.#again = true;
      else if (changed) this.#tell();
      return this.#pause(state.nextExpiryMs);
    } catch (error) {
      if (this.view.unreachable() && !this.#closed) {
        logger.warn(
          { err: error, service: this.view.service },
          'the registry cannot be asked; its last answer stands',
        );
        this.#tell();
      }
      return RETRY * (0.5 + this.#host.random());
    }
  }

  #pause(nextExpiryMs = Infinity): number {
    const { repairMs, random } = this.#host;
    const expiry = nextExpiryMs + 1 + EXPIRY_SPREAD * random();
    return Math.max(MIN_PAUSE, Math.min(expiry, repairMs * (0.9 + 0.2 * random())));
  }

  #arm(pause: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    const lapse = this.view.nextLapseMs ?? Infinity;
    this.#timer = this.#host.clock.setTimeout(() => this.#wake(), Math.min(pause, lapse + 1)).unref();
  }

  #wake(): void {
    if (this.view.lapse()) this.#tell();
    this.refresh();
  }

  #tell(): void {
    if (!this.#closed) this.#host.onChange(this.view);
  }
}

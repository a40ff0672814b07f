import type { ConfigManager } from '@xiaoke/config';
import { runInBackground, type Logger } from '@xiaoke/core';
import type { Settings } from './settings.ts';

const PATH = 'service.degraded_mode';

/**
 * Whether routine requests wait. The configuration says so, for all processes; while its store cannot be reached, which is
 * when it matters most, this process's own finding counts, and is written down once the store is back.
 */
export class DegradedMode {
  readonly #config: ConfigManager<Settings>;
  readonly #logger: Logger;
  #own: boolean | undefined;
  #writing = false;

  constructor(config: ConfigManager<Settings>, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
  }

  get active(): boolean {
    return this.#own ?? this.#config.get(PATH);
  }

  /** Follows readiness: unhealthy turns it on, anything that serves turns it off. */
  follow(readiness: 'healthy' | 'degraded' | 'unhealthy' | 'unknown'): void {
    if (readiness === 'unknown') return;
    this.#set(readiness === 'unhealthy');
  }

  #set(active: boolean): void {
    if (active === this.active && this.#own === undefined) return;
    this.#own = active;
    this.#logger.warn({ degraded: active }, active ? 'degraded mode begins' : 'degraded mode ends');
    if (!this.#writing) {
      runInBackground(() => this.#write(), 'write the degraded mode down', { logger: this.#logger });
    }
  }

  // One at a time: two writes under way could end in the order of the network, not of what happened.
  async #write(): Promise<void> {
    this.#writing = true;
    try {
      for (let active = this.#own; active !== undefined; active = this.#own) {
        if (this.#config.get(PATH) !== active) {
          await this.#config.set(PATH, active, {
            author: 'health',
            reason: `readiness is ${active ? 'unhealthy' : 'back'}`,
          });
        }
        // From here on the configuration says it, so that an operator can overrule it.
        if (this.#own === active) this.#own = undefined;
      }
    } finally {
      this.#writing = false;
    }
  }
}

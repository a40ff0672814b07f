import { InvalidOptionError, sleep, toMilliseconds, withTimeout, type Clock } from '@xiaoke/core';
import type { ChangeCause } from '../change.ts';
import { ConfigError, ConfigSourceError } from '../errors.ts';
import { formatOfContentType, formatOfFile, isConfigFormat, type ConfigFormat } from '../format.ts';
import type { LastGood, RemoteCopy } from '../last-good.ts';
import type { Layer } from '../layer.ts';
import type { ResolvedOptions } from '../options.ts';
import { decodeText, parseDocumentText } from '../parse/parse-document.ts';
import { makeSlot, type SourceSlot } from '../source.ts';
import type { Updates } from '../updates.ts';
import {
  checkRemoteUrl,
  fetchDocument,
  RemoteProblem,
  type Fetched,
  type Validators,
} from './fetch-document.ts';
import type { RemoteHeaders, RemoteSourceOptions } from './remote-options.ts';

const BACKOFF_BASE = 1_000;
const BACKOFF_MAX = 60_000;

interface Resolved {
  readonly url: URL;
  /** The URL as it may be shown: a query may hold a token. */
  readonly name: string;
  readonly pollInterval: number;
  readonly timeout: number;
  readonly headers: RemoteHeaders;
  readonly format: ConfigFormat | undefined;
  readonly optional: boolean;
  readonly interpolate: boolean | ReadonlySet<string>;
}

/** Validates where and how the remote source is asked. */
export function resolveRemote(url: string | URL, options: RemoteSourceOptions): Resolved {
  const parsed = checkRemoteUrl(url);
  if (options.format !== undefined && !isConfigFormat(options.format)) {
    throw new InvalidOptionError('format', 'must be one of ConfigFormat');
  }
  return {
    url: parsed,
    name: parsed.origin + parsed.pathname,
    pollInterval: toMilliseconds(options.pollInterval ?? '60s', 'pollInterval', { min: 10 }),
    timeout: toMilliseconds(options.timeout ?? '5s', 'timeout', { min: 10 }),
    headers: options.headers ?? {},
    format: options.format ?? formatOfFile(parsed.pathname),
    optional: options.optional ?? false,
    interpolate: checkInterpolate(options.interpolate ?? false),
  };
}

function checkInterpolate(value: unknown): boolean | ReadonlySet<string> {
  if (typeof value === 'boolean') return value;
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return new Set<string>(value);
  throw new InvalidOptionError('interpolate', 'must be true, false or a list of names');
}

/** The remote source: polled for as long as it is there, patient with a server that is not. */
export class RemoteSource {
  readonly slot: SourceSlot;
  readonly #options: ResolvedOptions;
  readonly #updates: Updates;
  readonly #remote: Resolved;
  readonly #lastGood: LastGood;
  readonly #stop = new AbortController();
  readonly #cause: ChangeCause;
  #validators: Validators = {};
  #failures = 0;

  constructor(remote: Resolved, context: { options: ResolvedOptions; updates: Updates; lastGood: LastGood }) {
    this.#remote = remote;
    this.#options = context.options;
    this.#updates = context.updates;
    this.#lastGood = context.lastGood;
    this.#cause = { kind: 'remote', source: remote.name };
    this.slot = makeSlot('remote', remote.name);
    this.slot.reload = () => this.#reload();
    this.slot.close = () => this.#stop.abort();
  }

  /** Loads for the first time; with the server away, from the last good copy. */
  async start(): Promise<void> {
    try {
      await this.#reload();
    } catch (error) {
      if (!(error instanceof ConfigError) || !this.fallBack(error)) throw error;
    }
  }

  /** Takes the last good copy, or nothing where that is allowed; `false` when neither is possible. */
  fallBack(error: ConfigError): boolean {
    const copy = this.#lastGood.remote(this.#remote.url.href);
    if (copy === undefined && !this.#remote.optional) return false;
    this.slot.latest = copy && this.#parse(Buffer.from(copy.text), copy.format);
    this.#validators = {};
    const since = this.#options.clock.now();
    this.slot.problem = { code: 'CONFIG_REMOTE_UNAVAILABLE', message: error.message, since };
    this.#options.logger.warn(
      { source: this.#remote.name, reason: error.message, copy: copy !== undefined },
      'the remote source did not answer at the start',
    );
    return true;
  }

  /** Polls from now on. */
  poll(): void {
    this.#updates.background.run(() => this.#loop(), 'poll the remote source');
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stop;
    let wait = this.#interval();
    while (!signal.aborted) {
      await sleep(wait, { clock: this.#options.clock, signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      wait = await this.#tick();
    }
  }

  /** One poll; gives how long to wait for the next. */
  async #tick(): Promise<number> {
    try {
      const layer = await this.#fetch();
      this.#failures = 0;
      if (layer !== undefined) this.#updates.offer(this.slot, layer, this.#cause);
      else this.#updates.mark(this.slot, undefined);
      return this.#interval();
    } catch (error) {
      if (this.#stop.signal.aborted) return 0;
      if (error instanceof ConfigError) {
        this.#updates.fail(this.slot, error, this.#cause);
        return this.#interval();
      }
      return this.#failed(error instanceof RemoteProblem ? error : new RemoteProblem('UNKNOWN'));
    }
  }

  #failed(problem: RemoteProblem): number {
    const { random } = this.#options;
    const message = `${this.#remote.name}: ${problem.code}`;
    this.#updates.unreachable(this.slot, message, this.#cause);
    // The first tries come sooner than the next poll would, since most failures are short; later ones no more often.
    const most = Math.max(BACKOFF_MAX, this.#remote.pollInterval);
    const ceiling = Math.min(most, BACKOFF_BASE * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return Math.max(problem.retryAfter ?? 0, ceiling * (0.5 + random() / 2));
  }

  // 10 % either way, so that a fleet started at once does not ask at once for ever.
  #interval(): number {
    return this.#remote.pollInterval * (0.9 + 0.2 * this.#options.random());
  }

  async #reload(): Promise<void> {
    try {
      const layer = await this.#fetch();
      if (layer !== undefined) this.slot.latest = layer;
      this.slot.lastSuccess = this.#options.clock.now();
      if (this.slot.problem?.code === 'CONFIG_REMOTE_UNAVAILABLE') this.slot.problem = undefined;
    } catch (error) {
      if (!(error instanceof RemoteProblem)) throw error;
      throw new ConfigSourceError(this.#remote.name, 'cannot be fetched', error.code);
    }
  }

  /** The newest document, or `undefined` when it is the one we have. */
  async #fetch(): Promise<Layer | undefined> {
    const { url, timeout, headers } = this.#remote;
    const { clock } = this.#options;
    const fetched = await fetchDocument({
      url,
      headers: await headersOf(headers, timeout, clock),
      validators: this.#validators,
      timeout,
      signal: this.#stop.signal,
      clock,
    });
    this.slot.lastSuccess = clock.now();
    return fetched.unchanged ? undefined : this.#accept(fetched);
  }

  #accept(fetched: Extract<Fetched, { unchanged: false }>): Layer | undefined {
    const format = this.#remote.format ?? formatOfContentType(fetched.contentType) ?? 'json';
    const text = decodeText(fetched.bytes, this.#remote.name);
    // The same text under another tag, or with none at all, is no news, also when it was refused.
    if (text === this.slot.latest?.document?.text) {
      this.#validators = fetched.validators;
      return undefined;
    }
    try {
      return this.#parse(fetched.bytes, format);
    } finally {
      // Also for a document that cannot be read: it is not fetched again until it is another.
      this.#validators = fetched.validators;
    }
  }

  #parse(bytes: Uint8Array, format: ConfigFormat): Layer {
    const { name, interpolate, url } = this.#remote;
    const document = parseDocumentText(decodeText(bytes, name), format, name);
    const layer: Layer = { kind: 'remote', name, values: document.values, templates: interpolate, document };
    this.#lastGood.noteRemote(layer, { url: url.href, format, text: document.text } satisfies RemoteCopy);
    return layer;
  }
}

async function headersOf(
  headers: RemoteHeaders,
  timeout: number,
  clock: Clock,
): Promise<Readonly<Record<string, string>>> {
  if (typeof headers !== 'function') return headers;
  try {
    const asked = Promise.resolve().then(headers);
    return await withTimeout(asked, timeout, 'headers', { clock, ref: false });
  } catch {
    // What it threw may hold the credentials it was about to give.
    throw new RemoteProblem('HEADERS_FAILED');
  }
}

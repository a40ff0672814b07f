import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Background, type Logger } from '@xiaoke/core';
import { codeOf } from './environment.ts';
import { isConfigFormat, type ConfigFormat } from './format.ts';
import type { Layer } from './layer.ts';
import { valueAt } from './path.ts';
import { Serial } from './serial.ts';
import type { StoreHead } from './store.ts';

/** A remote document as it was when it was last in force. */
export interface RemoteCopy {
  readonly url: string;
  readonly format: ConfigFormat;
  readonly text: string;
}

interface Payload {
  readonly remote?: RemoteCopy;
  readonly runtime?: { readonly scope: string; readonly head: StoreHead };
}

/**
 * The last good remote document and run-time values on disk, for a start without network. Written to a temporary file,
 * flushed and renamed, readable by the owner only, and with a checksum: half a file counts as none.
 */
export class LastGood {
  readonly #path: string | undefined;
  readonly #scope: string;
  readonly #logger: Logger;
  readonly #serial = new Serial();
  readonly #background: Background;
  readonly #copies = new WeakMap<Layer, RemoteCopy>();
  #payload: Payload = {};
  #written = '';

  constructor(path: string | undefined, scope: string, logger: Logger) {
    this.#path = path;
    this.#scope = scope;
    this.#logger = logger;
    this.#background = new Background({ logger });
  }

  /** Reads what an earlier process kept. */
  async open(): Promise<void> {
    if (this.#path === undefined) return;
    try {
      this.#written = await readFile(this.#path, 'utf8');
      this.#payload = parseFile(this.#written);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      this.#logger.warn({ file: this.#path, code: codeOf(error) }, 'the last good copy cannot be used');
    }
  }

  /** The copy of that URL's document. */
  remote(url: string): RemoteCopy | undefined {
    return this.#payload.remote?.url === url ? this.#payload.remote : undefined;
  }

  /** The copy of the run-time values of this namespace and environment. */
  get runtime(): StoreHead | undefined {
    const { runtime } = this.#payload;
    return runtime?.scope === this.#scope ? runtime.head : undefined;
  }

  /** Remembers which copy a layer was made of, to keep it should the layer come into force. */
  noteRemote(layer: Layer, copy: RemoteCopy): void {
    this.#copies.set(layer, copy);
  }

  /** Keeps what is in force now. */
  keep(remote: Layer | undefined, head: StoreHead): void {
    if (this.#path === undefined) return;
    const copy = remote && this.#copies.get(remote);
    const runtime = head.version === 0 ? this.#payload.runtime : { scope: this.#scope, head };
    const kept = copy ?? this.#payload.remote;
    this.#payload = {
      ...(kept === undefined ? {} : { remote: kept }),
      ...(runtime === undefined ? {} : { runtime }),
    };
    this.#background.run(() => this.#serial.run(() => this.#write()), 'keep the last good configuration');
  }

  /** Waits until everything is on disk, at most `timeout` milliseconds. */
  async settled(timeout: number): Promise<void> {
    await this.#background.settled(timeout);
  }

  async #write(): Promise<void> {
    const text = renderFile(this.#payload);
    if (this.#path === undefined || text === this.#written) return;
    const temporary = `${this.#path}.${randomUUID()}.tmp`;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
      this.#written = text;
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      this.#logger.warn({ file: this.#path, code: codeOf(error) }, 'the last good copy cannot be kept');
    }
  }
}

function renderFile(payload: Payload): string {
  const body = JSON.stringify(payload);
  return `${JSON.stringify({ format: 1, sha256: checksum(body), body })}\n`;
}

function parseFile(text: string): Payload {
  const file: unknown = JSON.parse(text);
  const [sha256, body] = [valueAt(file, ['sha256']), valueAt(file, ['body'])];
  if (typeof body !== 'string' || sha256 !== checksum(body))
    throw new SyntaxError('the checksum does not match');
  const payload = JSON.parse(body) as Payload;
  if (payload.remote !== undefined && !isConfigFormat(payload.remote.format))
    throw new SyntaxError('no such format');
  return payload;
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

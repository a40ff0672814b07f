import type { IncomingMessage, ServerResponse } from 'node:http';
import { InvalidOptionError, silentLogger, XiaokeError, type Logger } from '@xiaoke/core';
import type { ConfigManager } from './manager.ts';
import { valueAt } from './path.ts';

/** What a request wants to do. */
export type AdminAction = 'read' | 'history' | 'explain' | 'diff' | 'set' | 'unset' | 'rollback' | 'reload';

/** How the handler answers. */
export interface AdminOptions {
  /**
   * Asked for every request; anything but `true` is answered with 403. There is no default: a configuration that
   * anybody can read or change is not something to fall into.
   */
  readonly authorize: (request: IncomingMessage, action: AdminAction) => boolean | Promise<boolean>;
  /** Where the handler is mounted. @default '/config' */
  readonly basePath?: string;
  /** Names the author of a change, such as the user of the session. By default the body's `author`. */
  readonly author?: (request: IncomingMessage) => string | undefined;
  readonly logger?: Logger;
}

/** Handles a request of `node:http`; calls `next` for one that is not its own. */
export type AdminHandler = (request: IncomingMessage, response: ServerResponse, next?: () => void) => void;

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Route {
  readonly method: 'GET' | 'POST';
  readonly action: AdminAction;
  readonly run: (call: AdminCall) => Promise<Reply> | Reply;
}

interface AdminCall {
  readonly config: ConfigManager;
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
  readonly write: { readonly author?: string; readonly reason?: string; readonly ifVersion?: number };
}

const MAX_BODY = 1_048_576;

const ROUTES: Readonly<Record<string, Route>> = {
  '': {
    method: 'GET',
    action: 'read',
    run: ({ config }) =>
      tagged(config, { version: config.version, state: config.stats().state, config: config.masked() }),
  },
  '/history': {
    method: 'GET',
    action: 'history',
    run: async ({ config }) => tagged(config, { version: config.version, history: await config.history() }),
  },
  '/explain': {
    method: 'GET',
    action: 'explain',
    run: ({ config, query }) => ok(config.explain(query.get('path') ?? '')),
  },
  '/diff': {
    method: 'GET',
    action: 'diff',
    run: async ({ config, query }) =>
      ok({ changes: await config.diff(versionOf(query.get('from')), versionOf(query.get('to'))) }),
  },
  '/set': {
    method: 'POST',
    action: 'set',
    run: async ({ config, body, write }) => {
      const values: unknown = body['values'];
      const many = typeof values === 'object' && values !== null;
      const version = many
        ? await config.setMany(values as Record<string, unknown>, write)
        : await config.set(textOf(body, 'path'), body['value'], write);
      return ok({ version });
    },
  },
  '/unset': {
    method: 'POST',
    action: 'unset',
    run: async ({ config, body, write }) => ok({ version: await config.unset(textOf(body, 'path'), write) }),
  },
  '/rollback': {
    method: 'POST',
    action: 'rollback',
    run: async ({ config, body, write }) =>
      ok({ version: await config.rollback(Number(body['version']), write) }),
  },
  '/reload': {
    method: 'POST',
    action: 'reload',
    run: async ({ config }) => {
      await config.reload();
      return ok({ version: config.version });
    },
  },
};

/**
 * Makes the HTTP side of a manager, to be mounted in a server of yours; it opens none. Secrets are masked in every
 * answer. Changes are taken as JSON only, so that no form of another site can send one, and with `If-Match` (the `ETag`
 * of a read) only if nobody changed anything since.
 *
 * @throws {@link InvalidOptionError} without `authorize`
 */
export function createAdminHandler<T>(manager: ConfigManager<T>, options: AdminOptions): AdminHandler {
  if (typeof options?.authorize !== 'function') {
    throw new InvalidOptionError(
      'authorize',
      'must be a function; the configuration is never open to everybody',
    );
  }
  const { basePath = '/config', logger = silentLogger } = options;
  const config = manager as unknown as ConfigManager;
  return (request, response, next) => {
    const url = parseTarget(request.url ?? '/');
    const own = url.pathname === basePath || url.pathname.startsWith(`${basePath}/`);
    const path = url.pathname.slice(basePath.length).replace(/\/$/, '');
    const route = own && Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
    if (route === undefined) {
      if (next === undefined) send(response, problem(404, 'NOT_FOUND', 'There is nothing here'));
      else next();
      return;
    }
    answer(route, { request, config, query: url.searchParams, options })
      .catch((error: unknown) => {
        if (!(error instanceof XiaokeError)) logger.error({ err: error }, 'the admin handler failed');
        return failureOf(error);
      })
      .then((reply) => send(response, reply))
      .catch((error: unknown) => logger.error({ err: error }, 'the admin handler could not answer'));
  };
}

/** A target such as `//` is no URL; it is nothing of ours, and no reason to throw out of a listener. */
function parseTarget(target: string): URL {
  return URL.canParse(target, 'http://localhost')
    ? new URL(target, 'http://localhost')
    : new URL('http://localhost/');
}

async function answer(
  route: Route,
  call: { request: IncomingMessage; config: ConfigManager; query: URLSearchParams; options: AdminOptions },
): Promise<Reply> {
  const { request, config, query, options } = call;
  if (request.method !== route.method) {
    return { ...problem(405, 'METHOD_NOT_ALLOWED', `Use ${route.method}`), headers: { allow: route.method } };
  }
  if (!isTrue(await options.authorize(request, route.action)))
    return problem(403, 'FORBIDDEN', 'Not allowed');
  if (route.method === 'GET') return await route.run({ config, query, body: {}, write: {} });
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    return problem(415, 'NOT_JSON', 'Send application/json');
  }
  const body = await readJson(request);
  if (body === undefined) return problem(400, 'BAD_BODY', 'The body must be a JSON object of at most 1 MiB');
  return await route.run({ config, query, body, write: writeOptionsOf(request, body, options) });
}

/** From JavaScript an authorisation may give anything; only `true` opens. */
function isTrue(value: unknown): boolean {
  return value === true;
}

function writeOptionsOf(
  request: IncomingMessage,
  body: Readonly<Record<string, unknown>>,
  options: AdminOptions,
): AdminCall['write'] {
  const author = options.author?.(request) ?? optionalText(body, 'author');
  const reason = optionalText(body, 'reason');
  const tag = /^(?:W\/)?"(\d+)"$/.exec(request.headers['if-match'] ?? '')?.[1];
  const ifVersion = tag === undefined ? body['ifVersion'] : Number(tag);
  return {
    ...(author === undefined ? {} : { author }),
    ...(reason === undefined ? {} : { reason }),
    ...(typeof ifVersion === 'number' ? { ifVersion } : {}),
  };
}

async function readJson(request: IncomingMessage): Promise<Readonly<Record<string, unknown>> | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return typeof body === 'object' && body !== null && !Array.isArray(body)
      ? (body as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function ok(body: unknown): Reply {
  return { status: 200, body };
}

function tagged(config: ConfigManager, body: unknown): Reply {
  return { status: 200, body, headers: { etag: `"${config.version}"` } };
}

function problem(status: number, code: string, message: string): Reply {
  return { status, body: { error: { code, message } } };
}

const STATUS: Readonly<Record<string, number>> = {
  INVALID_OPTION: 400,
  CONFIG_INVALID: 422,
  CONFIG_VETOED: 422,
  CONFIG_PARSE: 422,
  CONFIG_SOURCE: 502,
  CONFIG_SHADOWED: 409,
  CONFIG_CONFLICT: 412,
  CONFIG_VERSION_NOT_FOUND: 404,
  CONFIG_STORE_UNAVAILABLE: 503,
  CONFIG_CLOSED: 503,
};

function failureOf(error: unknown): Reply {
  if (!(error instanceof XiaokeError)) return problem(500, 'INTERNAL', 'Something went wrong');
  const { code, message, details } = error;
  const issues = valueAt(details, ['issues']);
  const body = { error: { code, message, ...(issues === undefined ? {} : { issues }) } };
  return { status: STATUS[code] ?? 500, body };
}

function send(response: ServerResponse, reply: Reply): void {
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    ...reply.headers,
  };
  response.writeHead(reply.status, headers);
  response.end(JSON.stringify(reply.body));
}

function versionOf(text: string | null): number {
  return text !== null && /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

function textOf(body: Readonly<Record<string, unknown>>, name: string): string {
  return optionalText(body, name) ?? '';
}

function optionalText(body: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = body[name];
  return typeof value === 'string' ? value : undefined;
}

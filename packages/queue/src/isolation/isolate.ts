/**
 * What runs in the thread or process of an isolated handler, as text: it is loaded from a `data:` URL, so that neither a
 * bundler nor a TypeScript runner has to know of a second entry file.
 *
 * A task comes with the URL of the handler's module; what the handler says (progress, lines, questions about children)
 * goes back by a port in a thread, by the process's own channel otherwise. The answer is JSON, or what is known of the
 * error, since neither classes nor codes of errors survive the way.
 */
const SOURCE = `
const tries = new Map();

async function load(file) {
  const failed = tries.get(file) ?? 0;
  try {
    const module = await import(failed === 0 ? file : file + '?again=' + failed);
    if (typeof module.default === 'function') return module.default;
  } catch (error) {
    // A module that failed to load stays failed under its name.
    tries.set(file, failed + 1);
    const missing = error.code === 'ERR_MODULE_NOT_FOUND' && String(error.url ?? error.message).includes(new URL(file).pathname);
    throw Object.assign(error, { missing });
  }
  throw Object.assign(new Error('The module has no default export that is a function'), { missing: true });
}

function describe(error) {
  if (typeof error !== 'object' || error === null) return { name: 'Error', message: String(error) };
  const { name, message, code, stack, delayMs, missing } = error;
  const plain = (value) => (value === undefined ? undefined : String(value));
  return { name: plain(name), message: plain(message), code: typeof code === 'string' ? code : undefined,
    stack: plain(stack), delayMs, missing };
}

function connect(port, id) {
  if (port) return { send: (message) => port.postMessage(message), listen: (listener) => port.on('message', listener),
    // The other side closes it; that it closes before there is an answer says that this thread has died.
    close: () => port.unref() };
  let own;
  return {
    send: (message) => process.send({ id, ...message }),
    listen: (listener) => process.on('message', (own = (message) => { if (message?.id === id) listener(message); })),
    close: () => process.off('message', own),
  };
}

export default async function run({ file, payload, facts, port }) {
  const channel = connect(port, facts.id + ':' + facts.fencingToken);
  const controller = new AbortController();
  let children;
  let answer;
  channel.listen((message) => {
    if (message.kind === 'stop')
      controller.abort(Object.assign(new Error(message.reason.message), { name: message.reason.name, code: message.reason.code }));
    else if (message.kind === 'children') answer?.(new Map(message.entries));
  });
  const say = (message) => channel.send(message);
  const logs = (level) => (...args) => say({ kind: 'logger', level, text: JSON.stringify(args, (_, value) => value instanceof Error ? describe(value) : value) });
  const context = {
    ...facts,
    signal: controller.signal,
    progress: (value) => say({ kind: 'progress', text: JSON.stringify(value) }),
    log: (line) => say({ kind: 'line', line: String(line) }),
    logger: { debug: logs('debug'), info: logs('info'), warn: logs('warn'), error: logs('error') },
    childResults: () => (children ??= new Promise((resolve) => { answer = resolve; say({ kind: 'children' }); })),
  };
  try {
    const handler = await load(file);
    say({ kind: 'started' });
    const value = await handler(payload, context);
    try {
      const json = JSON.stringify(value);
      if (json === undefined && value !== undefined) throw new TypeError('The result is a ' + typeof value + ', which JSON cannot hold');
      return { json };
    } catch (error) {
      return { error: { ...describe(error), unserializable: true } };
    }
  } catch (error) {
    return { error: describe(error) };
  } finally {
    channel.close();
  }
}
`;

/** The module that every thread and process of isolated handlers loads. */
export const ISOLATE_URL: string = `data:text/javascript,${encodeURIComponent(SOURCE)}`;

/** What an isolate says while it runs. */
export type IsolateMessage =
  | { readonly kind: 'started' }
  | { readonly kind: 'progress'; readonly text: string | undefined }
  | { readonly kind: 'line'; readonly line: string }
  | {
      readonly kind: 'logger';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly text: string;
    }
  | { readonly kind: 'children' };

/** What an isolate answers in the end. */
export type IsolateAnswer =
  | { readonly json: string | undefined; readonly error?: undefined }
  | { readonly error: IsolateFailure };

/** What is left of an error on its way out of an isolate. */
export interface IsolateFailure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly delayMs?: number;
  /** The module, or its default export, is not there. */
  readonly missing?: boolean;
  readonly unserializable?: boolean;
}

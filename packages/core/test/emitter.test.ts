import { expect, test } from 'vitest';
import { Background, CallbackSet, IsolatedEmitter, runInBackground } from '@xiaoke/core';
import { eventually, recordingLogger } from '@xiaoke/core/testing';

interface Events {
  done: [id: string, took: number];
}

test('listeners get the arguments, in order, once or until they are taken off', () => {
  const emitter = new IsolatedEmitter<Events>();
  const seen: string[] = [];
  const first = (id: string, took: number): unknown => seen.push(`first ${id} ${took}`);
  emitter.on('done', first).once('done', (id) => seen.push(`once ${id}`));
  expect(emitter.emit('done', 'a', 1)).toBe(true);
  expect(emitter.emit('done', 'b', 2)).toBe(true);
  emitter.off('done', first);
  expect(emitter.emit('done', 'c', 3)).toBe(false);
  expect(seen).toEqual(['first a 1', 'once a', 'first b 2']);
});

test('a listener that throws or rejects is reported, and the others still run', async () => {
  const logger = recordingLogger();
  const counted: string[] = [];
  const emitter = new IsolatedEmitter<Events>({ logger, onListenerError: (event) => counted.push(event) });
  let ran = 0;
  emitter.on('done', () => {
    throw new Error('sync');
  });
  emitter.on('done', () => Promise.reject(new Error('async')));
  emitter.on('done', () => (ran += 1));
  emitter.emit('done', 'a', 1);
  await eventually(() => counted.length === 2);

  expect(ran).toBe(1);
  expect(logger.lines.map(({ level, fields }) => [level, String(fields['err'])])).toEqual([
    ['error', 'Error: sync'],
    ['error', 'Error: async'],
  ]);
});

test('an error event without a listener is logged, never thrown', () => {
  const logger = recordingLogger();
  const emitter = new IsolatedEmitter<Events>({ logger });
  expect(emitter.emit('error', new Error('lost'))).toBe(false);
  expect(logger.lines).toMatchObject([{ level: 'error', message: 'an error event had no listener' }]);
  emitter.on('error', () => {});
  expect(emitter.emit('error', new Error('heard'))).toBe(true);
  expect(emitter.listenerCount('error')).toBe(1);
  expect(emitter.removeAllListeners().listenerCount('error')).toBe(0);
});

test('callbacks are isolated, counted and can be taken back', async () => {
  const logger = recordingLogger();
  const errors: unknown[] = [];
  const callbacks = new CallbackSet<[number]>({
    name: 'change',
    logger,
    onError: (error) => errors.push(error),
  });
  const seen: number[] = [];
  callbacks.add(() => {
    throw new Error('sync');
  });
  callbacks.add(() => Promise.reject(new Error('async')));
  const same = (value: number): unknown => seen.push(value);
  callbacks.add(same);
  const takeBack = callbacks.add(same);
  await callbacks.call(1);
  takeBack();
  takeBack();
  await callbacks.call(2);

  expect(seen).toEqual([1, 1, 2]);
  expect([errors.length, logger.lines.length, callbacks.size]).toEqual([4, 4, 3]);
  callbacks.clear();
  expect(callbacks.size).toBe(0);
});

test('background work that fails is reported, and can be waited for within a limit', async () => {
  const logger = recordingLogger();
  const failed: string[] = [];
  const background = new Background({ logger, onError: (_, reason) => failed.push(reason) });
  let release = (): void => {};
  background.run(() => Promise.reject(new Error('x')), 'clean up');
  background.run(() => new Promise<void>((resolve) => (release = resolve)), 'refresh');
  expect(background.size).toBe(2);
  expect(await background.settled(5)).toBe(false);
  release();
  expect(await background.settled(1_000)).toBe(true);
  expect([failed, background.size]).toEqual([['clean up'], 0]);
  expect(logger.lines).toMatchObject([{ message: 'background work failed', fields: { reason: 'clean up' } }]);
  runInBackground(() => Promise.reject(new Error('y')), 'alone', { logger });
  await eventually(() => logger.lines.length === 2);
});

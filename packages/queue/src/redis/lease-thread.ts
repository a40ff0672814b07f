/**
 * What the lease thread runs: plain JavaScript as text, since a thread cannot load TypeScript and a published package
 * should need no second entry file.
 *
 * It renews a lease when the main thread has not done so for a third of it (half of a long one), and gives up after `maxBlockMs`.
 */
export const THREAD_SOURCE: string = `
'use strict';
const { parentPort, workerData } = require('node:worker_threads');
const { url, options, nodes, leaseMs, maxBlockMs, eager } = workerData;
let client;
function connect() {
  const { Redis, Cluster } = require(workerData.ioredis);
  const settings = { lazyConnect: true, maxRetriesPerRequest: 0, connectTimeout: 2000,
    retryStrategy: (times) => Math.min(50 * times, 1000) };
  client = nodes ? new Cluster(nodes, { redisOptions: options, lazyConnect: true })
    : url ? new Redis(url, settings) : new Redis({ ...options, ...settings });
  client.on('error', () => {});
}
// Loading a client takes longer than a second on a busy machine, so with a short lease it is there from the start; with a
// long one it is loaded when the main thread is silent for the first time, which mostly is never.
if (eager) connect();
parentPort.postMessage('started');
// XX: a worker whose lease was taken away must not get it back from here.
const renew = "local t = redis.call('TIME') return redis.call('ZADD', KEYS[1], 'XX', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2], ARGV[1])";
const workers = new Map();
// The main thread renews at a third of the lease; with a long lease there is time to leave it to that.
const due = eager ? leaseMs / 3 : leaseMs / 2;
parentPort.on('message', (message) => {
  const now = performance.now();
  if (message.add) workers.set(message.add, { key: message.key, renewed: now, kept: now });
  if (message.renewed) { const w = workers.get(message.renewed); if (w) { w.renewed = now; w.kept = now; } }
  if (message.drop) workers.delete(message.drop);
});
setInterval(() => {
  const now = performance.now();
  for (const [worker, w] of workers) {
    if (now - w.kept < due || now - w.renewed > maxBlockMs) continue;
    w.kept = now;
    if (!client) connect();
    client.eval(renew, 1, w.key, worker, leaseMs).catch(() => { w.kept = 0; });
  }
}, Math.max(50, leaseMs / 10));
`;

/**
 * What measuring costs a request: the hooks of the fastify plugin alone, against prom-client timed as its middlewares do
 * (`startTimer`, then `end` with method, route and status): a histogram, and a histogram with a summary, which is what
 * fastify-metrics keeps when nothing is configured.
 */
import promClient from 'prom-client';
import { createMetricsCollector } from '@xiaoke/metrics';
import { compare, type Figures } from '../harness.ts';

const CALLS = 200_000;

type Hook = (...args: unknown[]) => void;

/** Takes the hooks of a plugin out of it. */
function hooksOf(options: { readonly sizes: boolean }): Readonly<Record<string, Hook>> {
  const hooks: Record<string, Hook> = {};
  const instance = {
    addHook: (name: string, hook: (...args: never[]) => unknown) => (hooks[name] = hook as Hook),
  };
  createMetricsCollector({ selfMetrics: false }).fastify(options)(instance, {}, () => {});
  return hooks;
}

const routes = Array.from({ length: 16 }, (_, i) => `/items/${i}/:id`);
const request = (i: number): object => ({
  method: i % 4 === 0 ? 'POST' : 'GET',
  url: `/items/${i & 15}/7`,
  headers: {},
  routeOptions: { url: routes[i & 15] },
});
const requests = Array.from({ length: 1_024 }, (_, i) => request(i));
const reply = { statusCode: 200, getHeader: () => undefined };
const next = (): void => {};

function own(sizes: boolean): (i: number) => void {
  const { onRequest, onResponse } = hooksOf({ sizes });
  return (i) => {
    const of = requests[i & 1_023];
    onRequest?.(of, reply, next);
    onResponse?.(of, reply, next);
  };
}

type End = (labels: Record<string, string | number>) => number;

function stock(withSummary: boolean): (i: number) => void {
  const registers = [new promClient.Registry()];
  const labelNames = ['method', 'route', 'status_code'];
  const kinds = [
    new promClient.Histogram({ name: 'http_request_duration_seconds', help: 'Time.', labelNames, registers }),
    ...(withSummary
      ? [
          new promClient.Summary({
            name: 'http_request_summary_seconds',
            help: 'Time.',
            labelNames,
            registers,
          }),
        ]
      : []),
  ];
  const running = new WeakMap<object, End[]>();
  return (i) => {
    const of = requests[i & 1_023] as { method: string; routeOptions: { url: string } };
    running.set(
      of,
      kinds.map((kind) => kind.startTimer()),
    );
    const labels = { method: of.method, route: of.routeOptions.url, status_code: reply.statusCode };
    for (const end of running.get(of) ?? []) end(labels);
  };
}

function timer(measure: (i: number) => void): () => Figures {
  const run = (): number => {
    const start = performance.now();
    for (let i = 0; i < CALLS; i++) measure(i);
    return ((performance.now() - start) / CALLS) * 1e6;
  };
  run();
  return () => ({ 'ns/request': run() });
}

await compare({
  name: 'metrics/http',
  rounds: 7,
  lowerIsBetter: ['ns/request'],
  candidates: {
    xiaoke: timer(own(false)),
    'xiaoke with sizes': timer(own(true)),
    'prom-client histogram': timer(stock(false)),
    'prom-client histogram and summary': timer(stock(true)),
  },
  bars: [{ figure: 'ns/request', versus: 'prom-client histogram and summary', atMost: 1 / 4 }],
});

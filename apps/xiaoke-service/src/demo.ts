/**
 * Starts the service on its embedded defaults, sends it a stream of medical requests over HTTP, and leaves it serving.
 * Ctrl-C stops the stream, drains the service, and prints what became of every accepted request.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { startService, type Service } from './service.ts';
import { traffic, type Arrival } from './traffic.ts';

const REQUESTS_A_SECOND = 10;
const REPORT_EVERY = 5_000;
const USERS = 300;

interface Ledger {
  sent: number;
  accepted: number;
  refused: number;
}

async function main(): Promise<void> {
  const started = performance.now();
  const service = await startService();
  console.log(
    `xiaoke-service is serving at ${service.url} after ${Math.round(performance.now() - started)} ms`,
  );
  console.log('Sending it medical requests; Ctrl-C drains and stops it.');
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const ledger: Ledger = { sent: 0, accepted: 0, refused: 0 };
  await Promise.all([feed(service, ledger, stop.signal), report(service, ledger, stop.signal)]);
  console.log('\nDraining ...');
  const states = await service.drain();
  await service.close();
  console.log(`accepted ${ledger.accepted}; ended as ${JSON.stringify(states)}; refused ${ledger.refused}`);
}

async function feed(service: Service, ledger: Ledger, signal: AbortSignal): Promise<void> {
  const users = Array.from({ length: USERS }, (_, n) => `user-${String(n + 1).padStart(4, '0')}`);
  for (const arrival of traffic(users)) {
    if (signal.aborted) return;
    await send(service, arrival, ledger);
    await pause(1_000 / REQUESTS_A_SECOND, signal);
  }
}

async function send(service: Service, arrival: Arrival, ledger: Ledger): Promise<void> {
  ledger.sent += 1;
  const response = await fetch(new URL('/medical-requests', service.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(arrival),
    signal: AbortSignal.timeout(10_000),
  }).catch(() => undefined);
  if (response?.status === 202) ledger.accepted += 1;
  else ledger.refused += 1;
  await response?.body?.cancel();
}

async function report(service: Service, ledger: Ledger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(REPORT_EVERY, signal);
    const states = await service.requestStates();
    const counts = Object.entries(states).map(([state, count]) => `${count} ${state}`);
    console.log(
      `${new Date().toISOString()}  ${ledger.accepted} accepted: ${counts.join(', ')}  ${service.url}`,
    );
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {});
}

await main();

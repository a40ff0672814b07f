// The operator's page: reads the service every few seconds while somebody looks, and shows what it says.

import { act, read, series } from './api.js';
import { chart } from './chart.js';
import { badge, byId } from './elements.js';
import { PANELS } from './panels.js';
import {
  alertsTable,
  checksTable,
  configTable,
  deadLettersTable,
  instancesTable,
  locksTable,
  queuesTable,
  requestsTable,
  resilienceTable,
} from './tables.js';

const TABLES_EVERY = 2_000;
// The store takes a sample every ten seconds.
const CHARTS_EVERY = 10_000;
const POINTS = 120;
const DEAD_LETTERS_SHOWN = 20;

/** What stopped answering, by the part of the page that it feeds. @type {Map<string, string>} */
const broken = new Map();

/** @param {string} path @param {object} [body] */
async function change(path, body) {
  try {
    await act(path, /** @type {HTMLInputElement} */ (byId('token')).value, body);
    broken.delete('change');
  } catch (error) {
    broken.set('change', error instanceof Error ? error.message : String(error));
  }
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  await showTables();
}

/** @param {string} id @param {() => Promise<Node>} make */
async function show(id, make) {
  try {
    const made = await make();
    // Whoever has reached a button by keyboard keeps it until it is used.
    if (!byId(id).contains(document.activeElement)) byId(id).replaceChildren(made);
    broken.delete(id);
  } catch (error) {
    broken.set(id, error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} path @param {object} [body] */
const onChange = (path, body) => void change(path, body);

async function showTables() {
  const queues = read('/queues');
  const report = read('/healthz');
  await Promise.all([
    show('overall', async () => badge((await report).status)),
    show('alerts', async () => alertsTable(await read('/alerts'))),
    show('queues', async () => queuesTable(await queues, onChange)),
    show('dead-letters', async () => deadLettersTable(await deadLetters(await queues), onChange)),
    show('checks', async () => checksTable(await report)),
    show('requests', async () => requestsTable(await read('/medical-requests?limit=10'))),
    show('instances', async () => instancesTable(await read('/instances'))),
    show('locks', async () => locksTable(await read('/locks'))),
    show('resilience', async () => resilienceTable(await read('/resilience'))),
    show('config', async () => configTable(await read('/config/history'))),
  ]);
  const message = byId('message');
  message.hidden = broken.size === 0;
  message.textContent = [...new Set(broken.values())].join('; ');
  byId('updated').textContent = new Date().toLocaleTimeString();
}

/** @param {any} answer of /queues */
async function deadLetters({ queues }) {
  const lists = await Promise.all(
    queues
      .filter((/** @type {any} */ { states }) => states.dead > 0)
      .map((/** @type {any} */ { queue }) =>
        read(`/queues/${encodeURIComponent(queue)}/dead-letters?limit=${DEAD_LETTERS_SHOWN}`),
      ),
  );
  return lists.flatMap(({ items }) => items);
}

async function showCharts() {
  const seconds = Number(/** @type {HTMLSelectElement} */ (byId('range')).value);
  const end = Math.floor(Date.now() / 1_000);
  const range = { start: end - seconds, end, step: Math.max(10, Math.round(seconds / POINTS)) };
  await show('charts', async () => {
    const figures = await Promise.all(
      PANELS.map(async ({ title, query, label = '', format }) =>
        chart(title, await series(query, range, label), range, format),
      ),
    );
    const all = document.createDocumentFragment();
    all.append(...figures);
    return all;
  });
}

/** Runs again and again, a while after it has ended, and not while nobody looks. @param {() => Promise<void>} work @param {number} pause */
async function repeat(work, pause) {
  if (!document.hidden) await work();
  setTimeout(() => void repeat(work, pause), pause);
}

byId('range').addEventListener('change', () => void showCharts());
byId('token-form').addEventListener('submit', (event) => event.preventDefault());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void showTables();
});
void repeat(showTables, TABLES_EVERY);
void repeat(showCharts, CHARTS_EVERY);

// The tables: one function a section, each from what the service answered to what is shown.

import { badge, button, element, table } from './elements.js';

/** @typedef {(path: string, body?: object) => void} Act asks the service for a change, then reads everything again */
/** @typedef {any} Answer what a route answered; its shape is the route's */

/** @param {Answer} answer of /alerts */
export function alertsTable({ active }) {
  const rows = active
    // It fires always, to prove that alerts arrive; here it is noise.
    .filter((/** @type {Answer} */ { name }) => name !== 'XiaokeWatchdog')
    .map((/** @type {Answer} */ alert) => [
      badge(alert.state),
      badge(alert.labels.severity ?? ''),
      alert.name,
      alert.annotations.summary ?? '',
      since(alert.activeAt),
    ]);
  return table(['state', 'severity', 'alert', 'what', 'since'], rows, 'No alert is active.');
}

/** @param {Answer} answer of /queues @param {Act} act */
export function queuesTable({ queues }, act) {
  const rows = queues.map((/** @type {Answer} */ info) => {
    const path = `/queues/${encodeURIComponent(info.queue)}`;
    return [
      info.queue,
      info.paused ? badge('paused') : 'running',
      info.states.waiting,
      info.states.delayed,
      info.states.active,
      info.states.dead,
      info.oldestWaitingAgeSeconds === undefined ? '' : `${info.oldestWaitingAgeSeconds.toFixed(1)} s`,
      info.slots,
      info.desiredWorkers,
      info.paused
        ? button('resume', () => act(`${path}/resume`))
        : button('pause', () => act(`${path}/pause`)),
    ];
  });
  const heads = [
    'queue',
    '',
    'waiting',
    'delayed',
    'active',
    'dead',
    'oldest',
    'slots',
    'workers wanted',
    '',
  ];
  return table(heads, rows, 'There is no queue.');
}

/** @param {readonly Answer[]} items dead letters of all queues @param {Act} act */
export function deadLettersTable(items, act) {
  const rows = items.map((task) => {
    const path = `/queues/${encodeURIComponent(task.queue)}/dead-letters`;
    const ids = { ids: [task.id] };
    return [
      task.queue,
      task.name,
      task.id,
      task.attempts,
      [task.reason, task.error?.message].filter(Boolean).join(': '),
      element(
        'span',
        {},
        button('retry', () => act(`${path}/retry`, ids)),
        ' ',
        button('purge', () => confirm(`Forget ${task.id} for good?`) && act(`${path}/purge`, ids)),
      ),
    ];
  });
  return table(['queue', 'task', 'id', 'attempts', 'reason', ''], rows, 'No dead letter.');
}

/** @param {Answer} report of /healthz */
export function checksTable({ checks }) {
  const rows = Object.entries(checks).map(([name, check]) => [
    name,
    badge(check.status),
    check.code ?? '',
    check.critical ? 'critical' : 'optional',
  ]);
  return table(['check', 'status', 'code', 'counts as'], rows, 'Checks are turned off.');
}

/** @param {Answer} answer of /medical-requests */
export function requestsTable({ items }) {
  const rows = items.map((/** @type {Answer} */ request) => [
    new Date(request.createdAt).toLocaleTimeString(),
    request.userId,
    request.type,
    request.urgency,
    badge(request.state),
    request.result?.slot?.resourceName ?? request.result?.reason ?? '',
  ]);
  return table(['at', 'user', 'type', 'urgency', 'state', 'booked'], rows, 'No request yet.');
}

/** @param {Answer} answer of /instances */
export function instancesTable({ instances }) {
  const rows = instances.map((/** @type {Answer} */ instance) => [
    instance.id,
    badge(instance.status),
    instance.url,
    new Date(instance.registeredAt).toLocaleString(),
  ]);
  return table(['instance', 'status', 'address', 'since'], rows, 'None is registered.');
}

/** @param {Answer} answer of /locks */
export function locksTable({ held, stats }) {
  const rows = held.map((/** @type {Answer} */ lock) => [
    lock.key ?? '',
    lock.holders?.length ?? 0,
    lock.waiters?.length ?? 0,
    (lock.holders ?? []).map((/** @type {Answer} */ holder) => holder.owner ?? '').join(', '),
  ]);
  const nothing = `None now; ${stats.acquired} acquired, ${stats.waited} waited, ${stats.timedOut} timed out since the start.`;
  return table(['key', 'holders', 'waiters', 'owner'], rows, nothing);
}

/** @param {Answer} answer of /resilience */
export function resilienceTable({ stats, analysis }) {
  const rows = Object.values(stats.policies).map((/** @type {Answer} */ policy) => {
    const breaker = policy.policies?.find((/** @type {Answer} */ { kind }) => kind === 'circuitBreaker');
    const advice = analysis.findings
      .filter((/** @type {Answer} */ finding) => finding.policy === policy.name)
      .map((/** @type {Answer} */ finding) => finding.advice);
    return [
      policy.name,
      breaker === undefined ? '' : badge(breaker.state),
      policy.calls,
      policy.failed,
      policy.rejected,
      advice.join(' '),
    ];
  });
  return table(['policy', 'circuit', 'calls', 'failed', 'refused', 'advice'], rows, 'No policy.');
}

/** @param {Answer} answer of /config/history */
export function configTable({ versions }) {
  const rows = [...versions]
    .toSorted((a, b) => b.at - a.at)
    .slice(0, 10)
    .map((version) => [
      new Date(version.at).toLocaleString(),
      version.version ?? version.during ?? '',
      version.kind,
      version.author ?? '',
      version.reason ?? '',
      paths(version.paths ?? []),
    ]);
  return table(['at', 'version', 'kind', 'by', 'why', 'what'], rows, 'No change yet.');
}

/** @param {readonly string[]} all */
function paths(all) {
  return all.length > 4 ? `${all.slice(0, 4).join(', ')} and ${all.length - 4} more` : all.join(', ');
}

/** @param {number} at milliseconds */
function since(at) {
  return new Date(at).toLocaleTimeString();
}

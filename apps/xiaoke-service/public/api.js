// What the page asks the service for.

const TIMEOUT = 5_000;

/** @typedef {{ label: string, points: (readonly [number, number])[] }} Series One line of a chart: seconds and value. */

/** @param {string} path @returns {Promise<any>} the JSON of a GET; throws with the status when it is none of the 2xx */
export async function read(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT) });
  // The health report answers 503 when it has something to say.
  if (!response.ok && response.status !== 503) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

/**
 * A POST of an operator. The token is sent when there is one; without, the service answers on loopback only.
 *
 * @param {string} path
 * @param {string} token
 * @param {object} [body]
 */
export async function act(path, token, body = {}) {
  const response = await fetch(path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (response.ok) return;
  const answer = await response.json().catch(() => undefined);
  throw new Error(answer?.error?.message ?? `${path} answered ${response.status}`);
}

/**
 * Asks the embedded store by the Prometheus API.
 *
 * @param {string} query PromQL
 * @param {{ start: number, end: number, step: number }} range in seconds
 * @param {string} label the label that names a line
 * @returns {Promise<Series[]>}
 */
export async function series(query, range, label) {
  const parameters = new URLSearchParams({
    query,
    start: String(range.start),
    end: String(range.end),
    step: String(range.step),
  });
  const { data } = await read(`/api/v1/query_range?${parameters}`);
  return data.result.map(
    (/** @type {{ metric: Record<string, string>, values: [number, string][] }} */ line) => ({
      label: line.metric[label] ?? '',
      points: line.values
        .map(([time, value]) => /** @type {const} */ ([time, Number(value)]))
        .filter(([, value]) => Number.isFinite(value)),
    }),
  );
}

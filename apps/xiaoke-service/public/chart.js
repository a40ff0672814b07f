// Line charts in SVG. All text goes in as text, never as markup.

import { element } from './elements.js';

/** @typedef {import('./api.js').Series} Series */
/** @typedef {{ start: number, end: number }} Span seconds */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 320;
const HEIGHT = 100;
const BASE = 98;
const TOP = 3;
const COLOURS = 5;

/**
 * @param {string} title
 * @param {Series[]} lines
 * @param {Span} span
 * @param {(value: number) => string} format
 * @returns {HTMLElement}
 */
export function chart(title, lines, span, format) {
  const shown = lines.filter(({ points }) => points.length > 0).slice(0, COLOURS);
  const highest = Math.max(...shown.flatMap(({ points }) => points.map(([, value]) => value)), 0);
  const top = highest > 0 ? highest : 1;
  const place = {
    x: (/** @type {number} */ time) => ((time - span.start) / (span.end - span.start)) * WIDTH,
    y: (/** @type {number} */ value) => BASE - (value / top) * (BASE - TOP),
  };
  const picture = node('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: 'none',
    role: 'img',
  });
  picture.append(
    node('title', {}, `${title}: ${summary(shown, format)}`),
    node('line', { class: 'grid', x1: 0, x2: WIDTH, y1: BASE, y2: BASE }),
    node('line', { class: 'grid', x1: 0, x2: WIDTH, y1: TOP, y2: TOP }),
    ...shown.map(({ points }, index) => node('path', { class: `series-${index}`, d: path(points, place) })),
  );
  const axis = element(
    'p',
    { className: 'axis' },
    ...[clock(span.start), highest > 0 ? `up to ${format(highest)}` : '', clock(span.end)].map((text) =>
      element('span', {}, text),
    ),
  );
  const legend = element('p', { className: 'legend' });
  const caption = element('b', {}, summary(shown.length === 1 ? shown : [], format));
  const figure = element(
    'figure',
    {},
    element('figcaption', {}, element('span', {}, title), caption),
    picture,
    axis,
    legend,
  );
  const tell = (/** @type {number | undefined} */ at) => {
    legend.replaceChildren(
      ...shown
        .filter(({ label }) => label !== '' || at !== undefined)
        .map(({ label, points }, index) => entry(label, valueAt(points, at), index, format)),
    );
  };
  tell(undefined);
  followPointer(picture, span, tell);
  if (shown.length === 0) legend.append('no samples yet');
  return figure;
}

/** @param {SVGElement} picture @param {Span} span @param {(at: number | undefined) => void} tell */
function followPointer(picture, span, tell) {
  const cursor = node('line', { class: 'cursor', y1: TOP, y2: BASE, visibility: 'hidden' });
  picture.append(cursor);
  picture.addEventListener('pointermove', (event) => {
    const box = picture.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    for (const end of ['x1', 'x2']) cursor.setAttribute(end, String(share * WIDTH));
    cursor.setAttribute('visibility', 'visible');
    tell(span.start + share * (span.end - span.start));
  });
  picture.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    tell(undefined);
  });
}

/** @param {readonly (readonly [number, number])[]} points @param {number | undefined} at the last one when absent */
function valueAt(points, at) {
  if (at === undefined) return points.at(-1);
  return points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
}

/** @param {string} label @param {readonly [number, number] | undefined} point @param {number} index @param {(value: number) => string} format */
function entry(label, point, index, format) {
  const value = point === undefined ? '' : format(point[1]);
  const when = label === '' && point !== undefined ? ` at ${clock(point[0])}` : '';
  return element('span', { className: `series-${index}` }, `${label} ${value}${when}`.trim());
}

/** @param {Series[]} lines @param {(value: number) => string} format */
function summary(lines, format) {
  return lines.map(({ label, points }) => `${label} ${format(points.at(-1)?.[1] ?? 0)}`.trim()).join(', ');
}

/** @param {readonly (readonly [number, number])[]} points @param {{ x(time: number): number, y(value: number): number }} place */
function path(points, place) {
  return points
    .map(
      ([time, value], index) =>
        `${index === 0 ? 'M' : 'L'}${place.x(time).toFixed(1)} ${place.y(value).toFixed(1)}`,
    )
    .join('');
}

/** @param {number} seconds */
function clock(seconds) {
  return new Date(seconds * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

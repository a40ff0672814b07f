// Elements of the page. Whatever comes from the service is set as text, so that no value can become markup.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** @param {string} id */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} text @returns {HTMLElement} a word whose colour says how it is */
export function badge(text) {
  return element('span', { className: `badge ${text.replaceAll(/[^a-z-]/g, '')}` }, text);
}

/**
 * A table, or a quiet word when there is nothing to show. Numbers stand on the right.
 *
 * @param {readonly string[]} heads
 * @param {readonly (readonly (Node | string | number)[])[]} rows
 * @param {string} nothing
 */
export function table(heads, rows, nothing) {
  if (rows.length === 0) return element('p', { className: 'quiet' }, nothing);
  const body = rows.map((cells) =>
    element(
      'tr',
      {},
      ...cells.map((cell) =>
        typeof cell === 'number'
          ? element('td', { className: 'number' }, String(cell))
          : element('td', { className: typeof cell === 'string' && cell.length > 40 ? 'wide' : '' }, cell),
      ),
    ),
  );
  return element(
    'table',
    {},
    element(
      'thead',
      {},
      element(
        'tr',
        {},
        ...heads.map((head, column) =>
          element(
            'th',
            { scope: 'col', className: typeof rows[0]?.[column] === 'number' ? 'number' : '' },
            head,
          ),
        ),
      ),
    ),
    element('tbody', {}, ...body),
  );
}

/** @param {string} text @param {() => void} onClick */
export function button(text, onClick) {
  const made = element('button', { type: 'button' }, text);
  made.addEventListener('click', onClick);
  return made;
}

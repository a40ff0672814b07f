import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { conformanceScenarios } from '../src/testing/index.ts';

const here = new URL('.', import.meta.url);
const rows = readFileSync(new URL('README.md', here), 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => cells.length === 5 && /^`[\w./-]+`$/.test(cells[2] ?? ''))
  .map(([, scenario = '', file = '', title = '']) => ({ scenario, file: file.replaceAll('`', ''), title }));
const files = readdirSync(here, { recursive: true }).map(String);

function titlesOf(file: string): string {
  if (file === 'conformance') return conformanceScenarios.map(({ name }) => name).join('\n');
  return files
    .filter((name) => name.includes(file) && name.endsWith('.test.ts') && !name.startsWith('scenarios'))
    .map((name) => readFileSync(new URL(name, here), 'utf8'))
    .join('\n');
}

describe('the table of scenarios', () => {
  it('is there', () => {
    expect(rows.length).toBeGreaterThan(70);
  });

  it.each(rows)('$scenario: $file has a test "$title"', ({ file, title }) => {
    expect(titlesOf(file)).toContain(title);
  });
});

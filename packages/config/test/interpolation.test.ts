import { describe, expect, it } from 'vitest';
import { expandTemplate, type Variable } from '../src/interpolate.ts';
import { failure, useManagers } from './support.ts';

const { make, file } = useManagers();

const lookup =
  (values: Record<string, string>, template = false) =>
  (name: string): Variable | undefined =>
    Object.hasOwn(values, name) ? { value: values[name] ?? '', template } : undefined;

describe('a template', () => {
  const values = { SET: 'x', EMPTY: '', OTHER: 'o', DOLLAR: '${SET}' };
  const cases: Record<string, string> = {
    '${SET}': 'x',
    'a${SET}b${OTHER}c': 'axboc',
    '${EMPTY}': '',
    '${EMPTY:-d}': 'd',
    '${EMPTY-d}': '',
    '${NONE:-d}': 'd',
    '${NONE-d}': 'd',
    '${NONE:-}': '',
    '${SET:+alt}': 'alt',
    '${EMPTY:+alt}': '',
    '${EMPTY+alt}': 'alt',
    '${NONE+alt}': '',
    '${SET:?must}': 'x',
    '${EMPTY?must}': '',
    '${NONE:-${OTHER}}': 'o',
    '${NONE:-${ALSO:-${SET}}}': 'x',
    '${NONE:-a${OTHER}b}': 'aob',
    '${NONE:-redis://localhost:6379}': 'redis://localhost:6379',
    '${NONE:-}}': '}',
    '$${SET}': '${SET}',
    'a$${SET}b${SET}': 'a${SET}bx',
    $2b$10$N9qo8uLOickgx2ZMRZoMye: '$2b$10$N9qo8uLOickgx2ZMRZoMye',
    p$ss$1: 'p$ss$1',
    pa$$word: 'pa$$word',
    'C:\\dir\\$x': 'C:\\dir\\$x',
    $SET: '$SET',
    '${DOLLAR}': '${SET}',
    'no braces }': 'no braces }',
  };
  for (const [template, expected] of Object.entries(cases)) {
    it(`${template} is ${expected}`, () => {
      const { text, problems } = expandTemplate(template, lookup(values));
      expect([text, problems]).toEqual([expected, []]);
    });
  }

  it('that is broken says how', () => {
    for (const template of ['${', '${SET', '${}', '${1A}', '${A B}', 'x${A:-${B}']) {
      expect([template, expandTemplate(template, lookup(values)).problems]).toMatchObject([
        template,
        [{ kind: 'interpolation' }],
      ]);
    }
  });

  it('names every variable that is not set, with the words of the template', () => {
    const { problems } = expandTemplate('${A}${B:?needed for mail}${C:-${D:?deep}}${SET}', lookup(values));
    expect(problems.map(({ message }) => message)).toEqual([
      '${A} is not set',
      '${B} is not set: needed for mail',
      '${D} is not set: deep',
    ]);
  });

  it('that goes round in circles names the way', () => {
    const { problems } = expandTemplate('${A}', lookup({ A: '${B}', B: 'x${C}', C: '${A}' }, true));
    expect(problems.map(({ message }) => message)).toEqual([
      'variables refer to each other: A -> B -> C -> A',
    ]);
    expect(expandTemplate('${A}', lookup({ A: '${A}' }, true)).problems).toMatchObject([
      { message: 'variables refer to each other: A -> A' },
    ]);
  });

  it('that would become enormous is refused within 50 ms', () => {
    const bomb = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [
        `V${index}`,
        index === 0 ? 'x'.repeat(100) : `\${V${index - 1}}`.repeat(10),
      ]),
    );
    const start = performance.now();
    const { problems, text } = expandTemplate('${V11}', lookup(bomb, true));
    expect(performance.now() - start).toBeLessThan(50);
    expect(problems.some(({ message }) => message.includes('more than 65536 characters'))).toBe(true);
    expect(text.length).toBeLessThan(70_000);
  });
});

describe('variables in documents', () => {
  it('come from the process first and .env files second, where they may build on each other', async () => {
    const config = await make({ env: { variables: { HOST: 'process', PREFIX: 'X' } } });
    await config.addFileSource(
      await file('.env', "HOST=file\nBASE=http://${HOST}\nURL=${BASE}/x\nRAW='${HOST}'\nPREFIX_MARK=1\n"),
    );
    await config.addFileSource(await file('app.yaml', 'url: ${URL}\nraw: ${RAW}\nplain: "${HOST} is up"\n'));
    expect(config.snapshot()).toMatchObject({
      url: 'http://process/x',
      raw: '${HOST}',
      plain: 'process is up',
    });
  });

  it('that are not set are reported all at once, with file and line', async () => {
    const config = await make();
    const path = await file(
      'app.toml',
      'a = "${ONE}"\n[deep]\nlist = ["${TWO:?say which}", "${THREE:-fine}"]\n',
    );
    const error = await failure(config.addFileSource(path));
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      issues: [
        { kind: 'unresolved', path: 'a', message: '${ONE} is not set', source: path, line: 1 },
        { path: 'deep.list.0', message: '${TWO} is not set: say which', source: path, line: 3 },
      ],
    });
  });

  it('need not be set in what a higher layer hides', async () => {
    const config = await make({ env: { variables: { APP_A: 'x' }, prefix: 'APP_' } });
    await config.addFileSource(await file('app.yaml', 'a: ${NOT_SET:?needed}\n'));
    expect(config.get('a')).toBe('x');
  });

  it('are not expanded in what is set at run time', async () => {
    const config = await make({ env: { variables: { HOST: 'h' } } });
    await config.set('a', '${HOST}');
    expect(config.get('a')).toBe('${HOST}');
  });
});

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sharedRedis, spawnNode } from '@xiaoke/test-servers';
import { runCli } from '../src/cli/main.ts';
import { useManagers } from './support.ts';

const { folder, file } = useManagers();

async function run(
  args: readonly string[],
  terminal = false,
): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await runCli(args, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    variables: { NODE_ENV: 'test' },
    terminal,
  });
  return { code, out, err };
}

describe('the command line', () => {
  it('sets, gets, tells, rolls back, exports and imports on the shared store', async () => {
    const redis = await sharedRedis();
    const at = ['--redis', redis.url, '--namespace', 'cli'];
    expect(
      await run(['set', 'limits.rps', '5', ...at, '--author', 'ada', '--reason', 'first']),
    ).toMatchObject({ code: 0, out: 'version 1\n' });
    expect(await run(['set', 'db.password', 'hunter2', ...at])).toMatchObject({ code: 0 });
    expect(await run(['get', 'limits.rps', ...at])).toMatchObject({ out: '5\n' });
    expect(JSON.parse((await run(['get', '--json', ...at])).out)).toEqual({
      limits: { rps: 5 },
      db: { password: '***' },
    });
    expect((await run(['history', ...at])).out).toMatch(/^2 .*\n1 .* set {2}ada {2}limits.rps {2}first\n$/);
    expect((await run(['diff', '1', '2', ...at])).out).toBe('db.password: (nothing) -> "***"\n');
    expect((await run(['explain', 'limits.rps', ...at])).out).toContain('from runtime redis');
    const exported = await run(['export', ...at]);
    expect(JSON.parse(exported.out)).toEqual({ 'limits.rps': 5, 'db.password': '***' });
    const path = join(await folder(), 'export.json');
    await writeFile(path, exported.out);
    expect(await run(['import', path, ...at])).toMatchObject({ code: 2 });
    const revealed = await run(['export', '--reveal', ...at], true);
    await writeFile(path, revealed.out.replace('5', '6'));
    expect(await run(['import', path, ...at])).toMatchObject({ code: 0, out: 'version 3\n' });
    expect(await run(['get', 'limits.rps', ...at])).toMatchObject({ out: '6\n' });
    expect(await run(['rollback', '1', ...at, '--json'])).toMatchObject({ out: '{"version":4}\n' });
    expect(await run(['unset', 'limits', ...at])).toMatchObject({ out: 'version 5\n' });
    expect(await run(['get', 'limits', ...at])).toMatchObject({ code: 1 });
  });

  it('tells by its exit code what went wrong', async () => {
    const redis = await sharedRedis();
    const at = ['--redis', redis.url, '--namespace', 'cli-exit'];
    const good = await file('app.yaml', 'port: ${PORT:-8080}\n');
    const bad = await file('app.yaml', 'port: ${PORT}\nother: ${OTHER}\n');
    expect(await run(['validate', '-f', good])).toMatchObject({ code: 0, out: 'valid\n' });
    const refused = await run(['validate', '-f', bad]);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(
      /port: \$\{PORT\} is not set .*app\.yaml:1\)\n.*other: \$\{OTHER\} is not set .*app\.yaml:2\)/,
    );
    expect(JSON.parse((await run(['validate', '--json', '-f', bad])).out)).toMatchObject({
      error: { code: 'CONFIG_INVALID', issues: [{ path: 'port' }, { path: 'other' }] },
    });
    for (const args of [
      [],
      ['nonsense'],
      ['set', 'a'],
      ['diff', '1', 'x', ...at],
      ['--nonsense'],
      ['get', '', ...at],
      ['get', '--reveal', ...at],
      ['get', '-f', good, '--format', 'ini'],
    ]) {
      expect([args, (await run(args)).code]).toEqual([args, 2]);
    }
    await run(['set', 'a', '1', ...at]);
    expect(await run(['set', 'a', '2', ...at, '--if-version', '0'])).toMatchObject({ code: 3 });
    expect(await run(['get', '--redis', 'redis://127.0.0.1:1'])).toMatchObject({ code: 4 });
    expect(await run(['get', '--remote', 'http://127.0.0.1:1/x.json'])).toMatchObject({ code: 4 });
    expect(await run(['get', '-f', '/nowhere/app.yaml'])).toMatchObject({ code: 1 });
    expect(await run(['--help'])).toMatchObject({ code: 0 });
  });

  it('is a program that ends by itself', async () => {
    const path = await file('app.toml', 'a = 1\n');
    await using program = spawnNode(new URL('../src/cli/bin.ts', import.meta.url), {
      args: ['get', 'a', '-f', path],
    });
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(program.output).toBe('1\n');
    expect((await readFile(path, 'utf8')).length).toBe(6);
  });
});

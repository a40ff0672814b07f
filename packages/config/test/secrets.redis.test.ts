import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createAdminHandler, type ConfigManager } from '@xiaoke/config';
import { eventually, recordingLogger } from '@xiaoke/core/testing';
import type { MetricsSink, StandardSchemaV1 } from '@xiaoke/core';
import { sharedRedis } from '@xiaoke/test-servers';
import { runCli } from '../src/cli/main.ts';
import { maskUrls } from '../src/secrets.ts';
import { failure, useManagers } from './support.ts';

const { make, folder } = useManagers();

const SCHEMAS: Record<string, StandardSchemaV1<unknown, unknown>> = {
  zod: z
    .looseObject({
      port: z.number().optional(),
      db: z.looseObject({ password: z.string().max(80).optional() }).optional(),
    })
    .superRefine((value, context) => {
      if (value.port === 13)
        context.addIssue({ code: 'custom', path: ['port'], message: `13 with ${value.db?.password}` });
    }),
  valibot: v.looseObject({
    port: v.optional(v.number()),
    db: v.optional(
      v.looseObject({
        password: v.optional(
          v.pipe(
            v.string(),
            v.maxLength(80, (issue) => `"${issue.input}" is too long`),
          ),
        ),
      }),
    ),
  }) as never,
  arktype: type({ 'port?': 'number', 'db?': { 'password?': 'string <= 80' } }) as never,
};

/** A sink that keeps every word it is told. */
function wordsOf(words: string[]): MetricsSink {
  const instrument = (definition: object): never => {
    words.push(JSON.stringify(definition));
    const tell = (...args: unknown[]): unknown => {
      words.push(JSON.stringify(args));
      return { inc: tell, set: tell, observe: tell };
    };
    return { inc: tell, set: tell, observe: tell, with: tell } as never;
  };
  return { counter: instrument, gauge: instrument, histogram: instrument } as MetricsSink;
}

/** Everything an error says, in every way it can be shown. */
function said(error: unknown): string {
  const { stack, message, cause, details, issues } = error as Error & Record<string, unknown>;
  return [
    stack,
    message,
    inspect(error, { depth: 9 }),
    JSON.stringify(error),
    inspect([cause, details, issues]),
  ].join('\n');
}

for (const [vendor, schema] of Object.entries(SCHEMAS)) {
  describe(`secrets planted in every source, with ${vendor},`, () => {
    it('are in nothing that is said, shown or told', { timeout: 60_000 }, async () => {
      const planted: string[] = [];
      const secret = (): string => {
        planted.push(`S3CR3T-${randomUUID()}`);
        return planted.at(-1) ?? '';
      };
      const output: string[] = [];
      const redis = await sharedRedis();
      const logger = recordingLogger();
      const base = await folder();
      const put = async (name: string, text: string): Promise<string> => {
        await writeFile(join(base, name), text);
        return join(base, name);
      };
      const server = createServer((_request, response) => {
        response.end(JSON.stringify({ remote: { token: secret() } }));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const file = await put('named', `${secret()}\n`);
      const namespace = `secrets-${vendor}`;
      const variables = {
        X_ENV__API_KEY: secret(),
        X_FILE__PASSWORD_FILE: file,
        DB_PASSWORD: secret(),
        X_URL: `postgres://app:${secret()}/half@host/db`,
      };
      const config = await make({
        redis: redis.url,
        namespace,
        schema,
        logger,
        metrics: wordsOf(output),
        secrets: ['odd.**'],
        defaults: {
          db: { password: secret() },
          odd: { name: [{ deep: secret() }] },
          file: { password: '' },
          hook: `https://hooks.example/x?id=1&token=${secret()}`,
        },
        env: { prefix: 'X_', variables },
      });
      for (const event of ['change', 'rejected', 'regressed', 'state', 'error'] as const)
        config.on(event, (...args: unknown[]) =>
          output.push(inspect(args, { depth: 9 }), JSON.stringify(args)),
        );
      config.addChangeCallback((change) => {
        output.push(inspect(change, { depth: 9 }), JSON.stringify(change));
        throw new Error(`cannot use ${String(config.get('db.password'))}`);
      });
      config.subscribe('db', async () => {
        throw Object.assign(new TypeError('no', { cause: new Error(String(config.get('db.password'))) }), {
          value: config.get('env.apiKey'),
        });
      });
      config.guard('veto', (next) => {
        if (next === true)
          throw new Error(`${String(config.get('env.api_key'))} ${String(config.get('db.password'))}`);
      });

      // Every kind of source, each with a secret of its own.
      await config.addFileSource(
        await put('app.yaml', `db: { password: "${secret()}" }\ndsn: "\${DB_PASSWORD:-${secret()}}"\n`),
      );
      await config.addFileSource(await put('app.toml', `[mail]\nclient_secret = "${secret()}"\n`));
      await config.addFileSource(await put('app.json', `{"plain": "redis://:${secret()}@h:6379/0"}`));
      await config.addFileSource(await put('.env', `X_DOT__TOKEN='${secret()}'\n`));
      await config.addSource({
        name: 'vault',
        load: async () => ({ vault: { credentials: { key: secret() } } }),
      });
      await config.setRemoteSource(`http://127.0.0.1:${port}/c?token=${secret()}`, {
        format: 'json',
        headers: { authorization: secret() },
      });
      await config.setMany({
        'db.password': secret(),
        'run.accessKey': secret(),
        url2: `amqp://u:${secret()}@h`,
      });
      await config.set('db.password', secret(), { author: 'ada', reason: 'rotate' });

      // Every kind of failure.
      const errors = [
        await failure(config.set('db.password', `${secret()}${'x'.repeat(99)}`)),
        await failure(config.set('port', secret())),
        await failure(config.set('veto', true)),
        await failure(config.set('url.password', secret())),
        await failure(config.addFileSource(await put('bad.json', `{"db": {"password": "${secret()}"`))),
        await failure(config.addFileSource(await put('bad.yaml', `db:\n  password: "${secret()}\n`))),
        await failure(config.addFileSource(await put('bad.toml', `password = ${secret()}\n`))),
        await failure(config.addFileSource(await put('.env.bad', `PASSWORD="${secret()}\n`))),
        await failure(config.addFileSource(await put('port.json', `{"port": "${secret()}"}`))),
        await failure(
          config.addSource({
            name: 'broken',
            load: () => Promise.reject(new Error(`login with ${secret()} failed`)),
          }),
        ),
        await failure(
          config.setRemoteSource('http://127.0.0.1:1/x', { headers: { authorization: secret() } }),
        ),
        await failure(
          make({
            schema,
            env: { prefix: 'X_', variables: { X_PORT: secret(), X_DB__PASSWORD: secret() } },
          }).then(() => Promise.reject(new Error('fine'))),
        ),
      ];
      if (vendor === 'zod') errors.push(await failure(config.set('port', 13)));
      output.push(...errors.map(said));
      const rejections = config.stats().rejected;
      await put('app.json', `{"port": "${secret()}"}`);
      await eventually(() => config.stats().rejected > rejections);
      await writeFile(file, `${secret()}\n`);
      await eventually(() => config.get('file.password') === planted.at(-1));

      // Everything that shows something.
      for (const path of [
        'db',
        'db.password',
        'dsn',
        'plain',
        'url',
        'odd',
        'hook',
        'env',
        'remote',
        'vault',
        'dot',
      ])
        output.push(inspect(config.explain(path), { depth: 9 }));
      const history = await config.history();
      const versions = history.flatMap(({ version }) => version ?? []);
      output.push(JSON.stringify(history), JSON.stringify(await config.diff(0, Math.max(...versions))));
      output.push(inspect(config, { depth: 9, showHidden: true }), JSON.stringify(config));
      output.push(JSON.stringify(config.masked()), JSON.stringify(config.stats()));
      output.push(inspect(await config.healthIndicator().check({ signal: new AbortController().signal })));
      output.push(...(await adminAnswers(config)));
      output.push(...(await commandOutput(redis.url, namespace, join(base, 'app.yaml'))));
      output.push(await redis.cli('XRANGE', `xc:{${namespace}:test}:log`, '-', '+').then(withoutDocuments));
      output.push(...logger.lines.map((line) => inspect(line, { depth: 9, showHidden: true })));

      const everything = output.join('\n');
      expect(planted.length).toBeGreaterThan(30);
      const leaks = everything.split('\n').filter((line) => planted.some((word) => line.includes(word)));
      expect(leaks).toEqual([]);
      // The test of the test: the things were looked at at all, and what is no secret is shown.
      expect(everything).toContain('rotate');
      expect(logger.lines.some(({ message }) => message === 'a configuration callback failed')).toBe(true);
      expect(config.get('db.password')).toMatch(/^S3CR3T/);
      server.closeAllConnections();
      server.close();
    });
  });
}

async function adminAnswers(config: ConfigManager): Promise<string[]> {
  const handler = createAdminHandler(config, { authorize: () => true });
  const server = createServer((request, response) => handler(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/config`;
  const paths = [
    '',
    '/history',
    '/explain?path=db.password',
    '/explain?path=url',
    '/diff?from=0&to=2',
    '//x',
  ];
  const answers = await Promise.all(paths.map(async (path) => await (await fetch(base + path)).text()));
  const refused = await fetch(`${base}/set`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ path: 'port', value: config.get('db.password') }),
  });
  answers.push(await refused.text());
  server.closeAllConnections();
  server.close();
  return answers;
}

async function commandOutput(redis: string, namespace: string, file: string): Promise<string[]> {
  const output: string[] = [];
  const commands = [
    ['get'],
    ['get', 'db.password'],
    ['explain', 'db.password'],
    ['explain', 'dsn'],
    ['history'],
    ['diff', '0', '2'],
    ['export'],
    ['validate'],
    ['set', 'db', 'x', '--if-version', '99'],
  ];
  for (const command of commands.flatMap((args) => [args, [...args, '--json']])) {
    await runCli([...command, '--redis', redis, '--namespace', namespace, '-f', file], {
      out: (text) => output.push(text),
      err: (text) => output.push(text),
      variables: { NODE_ENV: 'test', DB_PASSWORD: 'x' },
      terminal: false,
    });
  }
  return output;
}

/** The log hands documents to other instances; everything else in it must be harmless. */
function withoutDocuments(reply: string): string {
  return reply.replaceAll(/^\{"format".*$/gm, '');
}

describe('the mask', () => {
  it('covers what is secret in a URL, also where the password is not written as it should be', () => {
    const cases: [string, string][] = [
      ['redis://:pw@host:6379/0', 'redis://***@host:6379/0'],
      ['postgres://user:p@ss@host/db', 'postgres://***@host/db'],
      ['postgres://user:p/a@ss@host/db', 'postgres://***@host/db'],
      ['http://host:8080/users/a@b.example', 'http://host:8080/users/a@b.example'],
      ['https://host/x?id=1&api_key=abc#top', 'https://host/x?id=1&api_key=***#top'],
      ['a mongodb://u:p@one:1,two:2/x b', 'a mongodb://***@one:1,two:2/x b'],
      ['no url: a@b', 'no url: a@b'],
    ];
    for (const [text, masked] of cases) expect(maskUrls(text)).toBe(masked);
  });
});

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { ensureServers } from '../src/index.ts';

const program = fileURLToPath(new URL('../bin/ensure-servers.mjs', import.meta.url));

test('what is installed passes in silence', async () => {
  await ensureServers(['redis', 'postgres', 'rabbitmq']);
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, 'redis'], { encoding: 'utf8' });
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: '', stdout: '' });
});

test('an unknown name is an error that tells the known ones', async () => {
  const { status, stderr } = spawnSync(process.execPath, [program, 'oracle'], { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toContain('Known are redis, rabbitmq, postgres');
});

test('an old server that may not be replaced is an error that says what to install', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xiaoke-ensure-'));
  try {
    chmodSync(directory, 0o755);
    const old = join(directory, 'redis-server');
    writeFileSync(old, '#!/bin/sh\necho Redis server v=6.0.16\n', { mode: 0o755 });
    for (const name of ['apt-get', 'sudo']) symlinkSync('/bin/false', join(directory, name));

    const { status, stderr } = spawnSync(process.execPath, [program, 'redis'], {
      encoding: 'utf8',
      env: { ...process.env, PATH: directory },
    });
    expect(status).toBe(1);
    expect(stderr).toContain('version 7 or newer is needed, 6 is installed');
    expect(stderr).toMatch(/apt-get install --no-install-recommends redis-server/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

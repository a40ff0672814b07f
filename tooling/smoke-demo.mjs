// Starts the demo by the README's command, as a stranger would, and stops it as one would: it has to print the URL it
// serves at, answer there while it runs, and drain and exit on Ctrl-C.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import process, { cwd } from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';

// What the README promises, and a bound on the drain.
const START = 180_000;
const STOP = 60_000;

/**
 * What a running demo must show, beside answering; grows with the service.
 *
 * @param {string} url the address the demo printed
 */
async function smoke_demo(url) {
  const page = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (page.status >= 500) throw new Error(`${url} answers ${page.status}`);
  await page.arrayBuffer();

  const taken = await fetch(new URL('/medical-requests', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ userId: 'user-0001', type: 'consultation' }),
    signal: AbortSignal.timeout(10_000),
  });
  if (taken.status !== 202) throw new Error(`a medical request was answered with ${taken.status}`);
  const { taskId } = /** @type {{ taskId: string }} */ (await taken.json());
  for (let look = 0; look < 100; look += 1) {
    const answer = await fetch(new URL(`/medical-requests/${taskId}`, url), {
      signal: AbortSignal.timeout(10_000),
    });
    const { state } = /** @type {{ state: string }} */ (await answer.json());
    if (state === 'completed') return;
    await wait(100);
  }
  throw new Error('a medical request was not completed within 10 s');
}

/** @param {import('node:child_process').ChildProcess} child @returns {Promise<string>} */
function printedUrl(child) {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk) => {
      process.stdout.write(chunk);
      text += chunk;
      const url = /https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?(?:\/[^\s"']*)?(?=\s)/.exec(
        text,
      )?.[0];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', (code, signal) =>
      reject(new Error(`the demo ended before it served: ${code ?? signal}`)),
    );
    setTimeout(() => reject(new Error(`the demo printed no URL within ${START / 1000} s`)), START).unref();
  });
}

async function main() {
  if (JSON.parse(readFileSync('package.json', 'utf8')).scripts.demo === undefined) {
    throw new Error('package.json has no `demo` script');
  }
  // A process group of its own, because Ctrl-C reaches every process of a terminal's group, not only the first.
  // Any free port, so that two of these can run at once.
  const env = { ...process.env, PORT: '0' };
  const child = spawn('pnpm', ['demo'], {
    cwd: cwd(),
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const group = -(child.pid ?? 0);
  const exited = once(child, 'exit');
  try {
    await smoke_demo(await printedUrl(child));
    process.kill(group, 'SIGINT');
    const ended = await Promise.race([exited, wait(STOP, undefined, { ref: false })]);
    if (ended === undefined) throw new Error(`the demo did not stop within ${STOP / 1000} s of Ctrl-C`);
    const [code, signal] = ended;
    if (code !== 0) throw new Error(`the demo ended with ${code ?? signal} after Ctrl-C, not 0`);
    console.log('demo: started, answered, stopped');
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(group, 'SIGKILL');
  }
}

await main();

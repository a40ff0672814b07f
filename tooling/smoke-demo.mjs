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
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (response.status >= 500) throw new Error(`${url} answers ${response.status}`);
  await response.arrayBuffer();
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
  const child = spawn('pnpm', ['demo'], { cwd: cwd(), detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const group = -(child.pid ?? 0);
  const exited = once(child, 'exit');
  try {
    await smoke_demo(await printedUrl(child));
    process.kill(group, 'SIGINT');
    const ended = await Promise.race([exited, wait(STOP, undefined, { ref: false })]);
    if (ended === undefined) throw new Error(`the demo did not stop within ${STOP / 1000} s of Ctrl-C`);
    console.log('demo: started, answered, stopped');
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(group, 'SIGKILL');
  }
}

await main();

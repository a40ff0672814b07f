#!/usr/bin/env node
import { runCli } from './main.ts';

runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  variables: process.env,
  terminal: process.stdout.isTTY,
}).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : 'Something went wrong'}\n`);
    process.exitCode = 1;
  },
);

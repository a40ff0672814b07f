// The entry of every process that spawnNode() starts: teaches Node 20 to read TypeScript, then runs the fixture.
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';

register('./typescript-hooks.mjs', import.meta.url);

const [, , entry] = process.argv;
process.argv.splice(1, 2, fileURLToPath(entry));
await import(entry);

import { runConformance } from './run-conformance.ts';

runConformance('in memory', async () => undefined);

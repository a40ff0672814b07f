import { packageTests } from '../../vitest.shared.ts';

// Most tests start whole services, several servers and a browser, which take half a minute on a busy machine.
export default packageTests('xiaoke-service', { testTimeout: 120_000 });

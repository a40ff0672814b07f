import { packageTests } from '../../vitest.shared.ts';

export default packageTests('health', { lines: 97, workers: 2 });

import { packageTests } from '../../vitest.shared.ts';

export default packageTests('queue', { lines: 94 });

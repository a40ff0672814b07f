import { packageTests } from '../../vitest.shared.ts';

export default packageTests('cache', { lines: 75 });

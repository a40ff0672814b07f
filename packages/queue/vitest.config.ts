import { packageTests } from '../../vitest.shared.ts';

export default packageTests('queue', { workers: 2 });

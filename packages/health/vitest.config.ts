import { packageTests } from '../../vitest.shared.ts';

export default packageTests('health', { lines: 97 });

import { defineConfig, type ViteUserConfig } from 'vitest/config';

// Tests and the editor see a package's sources; only consumers of the published package see dist.
// 'import' and 'default' always hold; naming 'import' here would hand CommonJS packages the ES modules of others.
const conditions = ['@xiaoke/source', 'node'];

// `pnpm test` names each of its runs, so that two of them in one checkout do not write the same files.
const run = process.env['XIAOKE_TEST_RUN'];
const results = run === undefined ? undefined : `.test-results/${run}`;

/** What one package does differently. */
export interface PackageTestOptions {
  /**
   * The share of lines its tests run at least, in percent. Below 95 only while a package is being built: it may be raised,
   * never lowered.
   */
  readonly lines?: number;
  /** Test files that run at once; Vitest's own default is one on two cores. For a package whose tests mostly wait for servers. */
  readonly workers?: number;
  /** How long a test may take, in milliseconds. @default 30_000 */
  readonly testTimeout?: number;
}

/** The Vitest configuration every workspace package shares. */
export function packageTests(
  name: string,
  { lines = 95, workers, testTimeout = 30_000 }: PackageTestOptions = {},
): ViteUserConfig {
  return defineConfig({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name,
      include: ['test/**/*.test.ts'],
      typecheck: { enabled: false },
      testTimeout,
      // One process after the other runs the files of a package and loads its modules once, which saves minutes in all.
      isolate: false,
      hookTimeout: 120_000,
      ...(workers !== undefined && { maxWorkers: workers }),
      ...(results && { reporters: ['default', 'json'], outputFile: { json: `${results}/vitest.json` } }),
      coverage: {
        provider: 'v8',
        include: ['src/**/*.ts'],
        exclude: ['src/**/*.generated.ts'],
        reporter: ['text-summary'],
        reportsDirectory: results === undefined ? 'coverage' : `${results}/coverage`,
        // Takes effect with `--coverage`, which is how the published packages run their tests.
        thresholds: { lines },
      },
    },
  });
}

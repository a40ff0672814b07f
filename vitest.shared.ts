import { defineConfig, type ViteUserConfig } from 'vitest/config';

// Tests and the editor see a package's sources; only consumers of the published package see dist.
const conditions = ['@xiaoke/source', 'node', 'import', 'module', 'default'];

/** The Vitest configuration every workspace package shares. */
export function packageTests(name: string): ViteUserConfig {
  return defineConfig({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name,
      include: ['test/**/*.test.ts'],
      typecheck: { enabled: false },
      testTimeout: 30_000,
      hookTimeout: 120_000,
      coverage: {
        provider: 'v8',
        include: ['src/**/*.ts'],
        exclude: ['src/**/*.generated.ts'],
        reporter: ['text-summary', 'json-summary'],
      },
    },
  });
}

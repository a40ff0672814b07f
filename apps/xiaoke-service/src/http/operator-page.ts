import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';

const FILES = new URL('../../public/', import.meta.url);
const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript' } as const;
const NAMES = [
  'index.html',
  'style.css',
  'main.js',
  'api.js',
  'chart.js',
  'elements.js',
  'panels.js',
  'tables.js',
] as const;

// Everything comes from here, and nothing from a value that is shown can run.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/**
 * `GET /`: the operator's page. It reads the routes that everybody may read, and asks for the admin token where something is
 * changed; the token stays in the page's memory.
 */
export async function operatorPage(app: FastifyInstance): Promise<void> {
  for (const name of NAMES) {
    const body = await readFile(new URL(name, FILES), 'utf8');
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES];
    app.get(name === 'index.html' ? '/' : `/operator/${name}`, async (_request, reply) =>
      reply
        .header('content-type', `${type}; charset=utf-8`)
        .header('content-security-policy', POLICY)
        .header('x-content-type-options', 'nosniff')
        .header('referrer-policy', 'no-referrer')
        .header('cache-control', 'no-cache')
        .send(body),
    );
  }
}

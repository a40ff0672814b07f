import { readdir, readFile } from 'node:fs/promises';
import type { Database } from './database.ts';

const directory = new URL('../../migrations/', import.meta.url);

/** Brings the schema up to date: each file of `migrations/` once, in the order of their names, all or nothing. */
export async function migrate(database: Database): Promise<readonly string[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort();
  const sources = await Promise.all(files.map((file) => readFile(new URL(file, directory), 'utf8')));
  await database.execute(
    'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())',
  );
  return await database.transaction(async (transaction) => {
    // Two services that start together take turns; the second finds nothing to do.
    await transaction.query('LOCK TABLE migrations IN EXCLUSIVE MODE');
    const applied = new Set(
      (await transaction.query<{ name: string }>('SELECT name FROM migrations')).map((row) => row.name),
    );
    const missing = files.filter((file) => !applied.has(file));
    for (const file of missing) {
      for (const statement of statementsOf(sources[files.indexOf(file)] ?? ''))
        await transaction.query(statement);
      await transaction.query('INSERT INTO migrations (name) VALUES ($1)', [file]);
    }
    return missing;
  });
}

// A transaction runs one statement at a time, and these files hold no semicolon inside a statement.
function statementsOf(source: string): readonly string[] {
  return source
    .replaceAll(/^\s*--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

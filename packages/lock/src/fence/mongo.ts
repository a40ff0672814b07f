import { InvalidOptionError } from '@xiaoke/core';
import { StaleTokenError } from '../errors.ts';
import { tokenOf, type TokenSource } from './token.ts';

/** What an update did. */
export interface MongoUpdateResult {
  readonly matchedCount: number;
  readonly modifiedCount: number;
  readonly upsertedCount: number;
}

/** What is used of a collection of the `mongodb` driver. */
export interface MongoCollection {
  updateOne(filter: never, update: never, options?: never): Promise<unknown>;
  findOne(filter: never, options?: never): Promise<unknown>;
}

/** Update operators, such as `{ $set: { state: 'paid' } }`. */
export type MongoUpdate = Readonly<Record<`$${string}`, object>>;

/** Refuses writers of the past, in MongoDB. */
export interface MongoFence {
  /**
   * Updates the one document that `filter` finds, if it was last written with no larger token, and leaves the token in
   * it: one atomic step. Filter by what identifies the document, so that nothing but its token can keep it from matching.
   *
   * @throws {@link StaleTokenError} when a newer holder has written it
   */
  updateOne(
    filter: object,
    update: MongoUpdate,
    token: TokenSource,
    options?: { readonly upsert?: boolean },
  ): Promise<MongoUpdateResult>;
}

/** The server's code for a second document with the same unique key. */
const DUPLICATE_KEY = 11_000;

/**
 * Makes a fence on a collection of yours.
 *
 * @param options - `field` of the documents that keeps the token, by default `fence`
 */
export function mongoFence(
  collection: MongoCollection,
  options: { readonly field?: string } = {},
): MongoFence {
  const { field = 'fence' } = options;
  if (field === '' || field.startsWith('$') || field.includes('.')) {
    throw new InvalidOptionError('field', 'must be the plain name of a field');
  }
  const write = async (filter: object, update: MongoUpdate, token: number, upsert: boolean) => {
    const passed = { $or: [{ [field]: { $lte: token } }, { [field]: { $exists: false } }] };
    const written = { ...update, $set: { ...update['$set'], [field]: token } };
    const result = await collection.updateOne(
      both(filter, passed) as never,
      written as never,
      { upsert } as never,
    );
    return result as MongoUpdateResult;
  };
  /** Whether there is a document; refuses the write if it was written with a larger token. */
  const isThere = async (filter: object, token: number): Promise<boolean> => {
    const found = (await collection.findOne(filter as never)) as Readonly<Record<string, unknown>> | null;
    if (found === null) return false;
    const seen = Number(found[field]);
    if (seen > token) throw new StaleTokenError(field, token, seen);
    return true;
  };
  return {
    updateOne: async (filter, update, source, { upsert = false } = {}) => {
      const token = tokenOf(source);
      const result = await write(filter, update, token, false);
      if (result.matchedCount > 0) return result;
      // A document that is there must not get a twin, also where no index would keep it from that.
      const there = await isThere(filter, token);
      if (!upsert && !there) return result;
      try {
        return await write(filter, update, token, upsert && !there);
      } catch (error) {
        if ((error as { code?: unknown }).code !== DUPLICATE_KEY) throw error;
        // Somebody inserted it in between.
        await isThere(filter, token);
        return await write(filter, update, token, false);
      }
    },
  };
}

// Both conditions, with what `filter` names at the top, where an upsert takes the fields of a new document from.
function both(filter: object, passed: { readonly $or: readonly object[] }): object {
  if (!('$or' in filter)) return { ...filter, ...passed };
  const { $or, ...rest } = filter;
  const and = '$and' in rest && Array.isArray(rest.$and) ? (rest.$and as object[]) : [];
  return { ...rest, $and: [...and, { $or }, passed] };
}

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
  const seenBy = async (filter: object): Promise<number | undefined> => {
    const found = (await collection.findOne(filter as never)) as Readonly<Record<string, unknown>> | null;
    return found === null ? undefined : Number(found[field]);
  };
  return {
    updateOne: async (filter, update, source, { upsert = false } = {}) => {
      const token = tokenOf(source);
      const guarded = {
        $and: [filter, { $or: [{ [field]: { $lte: token } }, { [field]: { $exists: false } }] }],
      };
      const written = { ...update, $set: { ...update['$set'], [field]: token } };
      try {
        const result = (await collection.updateOne(
          guarded as never,
          written as never,
          { upsert } as never,
        )) as MongoUpdateResult;
        if (result.matchedCount > 0 || result.upsertedCount > 0) return result;
        const seen = await seenBy(filter);
        if (seen === undefined || seen <= token) return result;
        throw new StaleTokenError(field, token, seen);
      } catch (error) {
        // The document is there, but its token is larger: an upsert then tries to insert a second one.
        if (!upsert || (error as { code?: unknown }).code !== DUPLICATE_KEY) throw error;
        throw new StaleTokenError(field, token, await seenBy(filter));
      }
    },
  };
}

/**
 * For a chunk storage of your own: the contract that every storage of this package keeps, as named cases for any test
 * runner.
 *
 * @module
 */
export { chunkStorageContract, type StorageCase, type StorageUnderTest } from './chunk-storage-contract.ts';

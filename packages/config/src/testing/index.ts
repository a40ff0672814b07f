/**
 * For a store of your own: the contract that every backend of the suite keeps, as named cases for any test runner.
 *
 * @module
 */
export { configStoreContract, type StoreCase } from './store-contract.ts';

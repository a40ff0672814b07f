/** The resource side of fencing: refuses writers whose token is not the newest. */
export { StaleTokenError } from '../errors.ts';

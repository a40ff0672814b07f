import { InvalidOptionError } from '@xiaoke/core';
import { instanceStatus, isRoutable, type Instance, type InstanceStatus } from './instance.ts';

/** The instances of one service as they are known now. */
export interface ServiceSnapshot {
  readonly service: string;
  /** Those that take new traffic and pass the filter. */
  readonly instances: readonly Instance[];
  /** Registered, but taking no new traffic: starting, draining, unhealthy or unknown; those that pass the filter. */
  readonly unroutable: readonly Instance[];
  /** Whether the registry could not be asked, and this is what it said last. */
  readonly stale: boolean;
  /** Grows with every change of the service. */
  readonly version: number;
  /** Milliseconds since the registry was last heard of; 0 when it was just asked. */
  readonly ageMs: number;
  /** Ids that the registry misses, kept for a while because it lost its data or its contact. */
  readonly suspects: readonly string[];
}

/** Which instances are wanted; everything that is said must hold. */
export interface InstanceCriteria {
  readonly zone?: string;
  readonly region?: string;
  readonly version?: string;
  /** Every one of them must be there. */
  readonly tags?: readonly string[];
  /** Every entry must be there with the same value. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Statuses that count as routable here, `any` for all of them. @default healthy and degraded */
  readonly status?: InstanceStatus | readonly InstanceStatus[] | 'any';
}

/** Criteria, or a test of one's own. */
export type InstanceFilter = InstanceCriteria | ((instance: Instance) => boolean);

/** A filter, ready to use. */
export interface CompiledFilter {
  readonly matches: (instance: Instance) => boolean;
  readonly routable: (instance: Instance) => boolean;
}

const EVERYTHING: CompiledFilter = {
  matches: () => true,
  routable: ({ status }) => isRoutable(status),
};

/** @throws `INVALID_OPTION` */
export function compileFilter(filter: InstanceFilter | undefined): CompiledFilter {
  if (filter === undefined) return EVERYTHING;
  if (typeof filter === 'function') return { ...EVERYTHING, matches: filter };
  if (typeof filter !== 'object' || filter === null)
    throw new InvalidOptionError('filter', 'must be criteria or a function');
  const { zone, region, version, tags = [], metadata = {}, status } = filter;
  const wanted = Object.entries(metadata);
  return {
    routable: statusTest(status),
    matches: (instance) =>
      (zone === undefined || instance.zone === zone) &&
      (region === undefined || instance.region === region) &&
      (version === undefined || instance.version === version) &&
      tags.every((tag) => instance.tags.includes(tag)) &&
      wanted.every(([key, value]) => instance.metadata[key] === value),
  };
}

function statusTest(status: InstanceCriteria['status']): CompiledFilter['routable'] {
  if (status === undefined) return EVERYTHING.routable;
  if (status === 'any') return () => true;
  const list = (Array.isArray(status) ? status : [status]) as readonly unknown[];
  const wanted = new Set(list.map(instanceStatus));
  return (instance) => wanted.has(instance.status);
}

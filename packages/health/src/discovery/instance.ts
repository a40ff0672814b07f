import { InvalidOptionError, type Duration, type HealthStatus } from '@xiaoke/core';

/** How an instance is, and whether it wants traffic: `starting` not yet, `draining` no more. */
export type InstanceStatus = HealthStatus | 'starting' | 'draining';

/** One running copy of a service, as the registry shows it. */
export interface Instance {
  /** Unique within the service. */
  readonly id: string;
  readonly service: string;
  readonly url: string;
  readonly status: InstanceStatus;
  /** Its share of the traffic beside the others. */
  readonly weight: number;
  readonly zone?: string | undefined;
  readonly region?: string | undefined;
  readonly version?: string | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** When it was registered, in milliseconds since the epoch, by the clock of its own machine. */
  readonly registeredAt: number;
}

/** What is told of an instance when it is registered. */
export interface InstanceInit {
  /** Unique within the service; a later registration under the same id replaces the earlier one. */
  readonly id: string;
  readonly service: string;
  /** Where it is reached. */
  readonly url: string | URL;
  /** Above 0, up to 1,000. @default 1 */
  readonly weight?: number | undefined;
  readonly zone?: string | undefined;
  readonly region?: string | undefined;
  readonly version?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  /** Anything consumers want to know. Everybody who can read the registry sees it. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** @default 'healthy' */
  readonly status?: InstanceStatus | undefined;
  /** How long it outlives its process. @default the registry's */
  readonly ttl?: Duration | undefined;
  /** How often its lease is renewed. @default the registry's */
  readonly heartbeat?: Duration | undefined;
}

/** What may change while an instance is registered. */
export type InstanceUpdate = Partial<Omit<InstanceInit, 'id' | 'service' | 'ttl' | 'heartbeat'>>;

const STATUSES: ReadonlySet<unknown> = new Set<InstanceStatus>([
  'healthy',
  'degraded',
  'unhealthy',
  'unknown',
  'starting',
  'draining',
]);
const NAME = /^[^\s{}]{1,200}$/;
const MAX_WEIGHT = 1_000;
/** How large an instance may be once it is written, in bytes: every consumer holds all of them. */
const MAX_BYTES = 16_384;

/** Whether new traffic may go to it, as `/readyz` would answer. */
export function isRoutable(status: InstanceStatus): boolean {
  return status === 'healthy' || status === 'degraded';
}

/** Validates and fills in what was not said. @throws `INVALID_OPTION` */
export function resolveInstance(init: InstanceInit, registeredAt: number): Instance {
  if (typeof init !== 'object' || init === null)
    throw new InvalidOptionError('instance', 'must be an object');
  const instance: Instance = Object.freeze({
    id: name(init.id, 'id'),
    service: name(init.service, 'service'),
    url: url(init.url),
    status: instanceStatus(init.status ?? 'healthy'),
    weight: weight(init.weight ?? 1),
    zone: optionalText(init.zone, 'zone'),
    region: optionalText(init.region, 'region'),
    version: optionalText(init.version, 'version'),
    tags: texts(init.tags ?? []),
    metadata: metadata(init.metadata ?? {}),
    registeredAt,
  });
  if (encodeInstance(instance).length > MAX_BYTES) {
    throw new InvalidOptionError('metadata', `makes the instance larger than ${MAX_BYTES} characters`);
  }
  return instance;
}

/** @throws `INVALID_OPTION` */
export function instanceStatus(status: unknown): InstanceStatus {
  if (STATUSES.has(status)) return status as InstanceStatus;
  throw new InvalidOptionError('status', `must be one of ${[...STATUSES].join(', ')}`);
}

/** @throws `INVALID_OPTION` */
export function serviceName(service: unknown): string {
  return name(service, 'service');
}

/** As it is written down. */
export function encodeInstance(instance: Instance): string {
  return JSON.stringify(instance);
}

/** The inverse of {@link encodeInstance}; `undefined` for what somebody else wrote. */
export function decodeInstance(text: string, service: string): Instance | undefined {
  try {
    const parsed = JSON.parse(text) as InstanceInit & { readonly registeredAt?: unknown };
    const registeredAt = typeof parsed.registeredAt === 'number' ? parsed.registeredAt : 0;
    return resolveInstance({ ...parsed, service }, registeredAt);
  } catch {
    return undefined;
  }
}

function name(value: unknown, option: string): string {
  if (typeof value === 'string' && NAME.test(value)) return value;
  throw new InvalidOptionError(option, 'must be 1 to 200 characters without spaces and braces');
}

function url(value: unknown): string {
  const text = value instanceof URL ? value.href : value;
  // It may hold a password, so it is not repeated.
  if (typeof text !== 'string' || !URL.canParse(text)) throw new InvalidOptionError('url', 'must be a URL');
  return text;
}

function weight(value: unknown): number {
  if (typeof value === 'number' && value > 0 && value <= MAX_WEIGHT) return value;
  throw new InvalidOptionError('weight', `must be above 0 and at most ${MAX_WEIGHT}`);
}

function optionalText(value: unknown, option: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw new InvalidOptionError(option, 'must be a non-empty string');
}

function texts(value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((tag) => typeof tag === 'string')) return Object.freeze([...value]);
  throw new InvalidOptionError('tags', 'must be a list of strings');
}

function metadata(value: unknown): Readonly<Record<string, string>> {
  const valid =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((entry) => typeof entry === 'string');
  if (!valid) throw new InvalidOptionError('metadata', 'must be an object of strings');
  return Object.freeze({ ...(value as Record<string, string>) });
}

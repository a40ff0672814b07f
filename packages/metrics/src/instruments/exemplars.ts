/** Which labels tie a measurement to a trace; at most 128 characters in all, as OpenMetrics wants. */
export type ExemplarLabels = Readonly<Record<string, string>>;

/** One measurement with the trace it came from. */
export interface Exemplar {
  readonly labels: ExemplarLabels;
  readonly value: number;
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

const OPEN_TELEMETRY = Symbol.for('opentelemetry.js.api.1');
const SPAN_KEY = Symbol.for('OpenTelemetry Context Key SPAN');

interface OpenTelemetryGlobals {
  readonly context?: { active?(): { getValue(key: symbol): unknown } };
}

interface SpanLike {
  spanContext(): { readonly traceId: string; readonly spanId: string; readonly traceFlags: number };
}

/**
 * Where exemplars come from: a function of the user's, or the active span of `@opentelemetry/api`. The API's globals are
 * looked up by their well-known symbols, so that the package is neither imported nor needed, and only between scrapes:
 * a process without tracing pays one property read per measurement.
 */
export class ExemplarSource {
  /** Whether measurements should ask at all. */
  active = false;
  readonly #custom: (() => ExemplarLabels | undefined) | undefined;
  readonly #enabled: boolean;

  constructor(option: boolean | (() => ExemplarLabels | undefined)) {
    this.#custom = typeof option === 'function' ? option : undefined;
    this.#enabled = option !== false;
    this.refresh();
  }

  /** Notices tracing that was set up since; called by each scrape. */
  refresh(): void {
    this.active = this.#enabled && (this.#custom !== undefined || globals()?.context !== undefined);
  }

  /** The labels of the measurement being made now; never throws. */
  current(): ExemplarLabels | undefined {
    try {
      const labels = this.#custom === undefined ? activeSpan() : this.#custom();
      return labels !== undefined && size(labels) <= 128 ? labels : undefined;
    } catch {
      return undefined;
    }
  }
}

function globals(): OpenTelemetryGlobals | undefined {
  return (globalThis as { [OPEN_TELEMETRY]?: OpenTelemetryGlobals })[OPEN_TELEMETRY];
}

function activeSpan(): ExemplarLabels | undefined {
  const span = globals()?.context?.active?.().getValue(SPAN_KEY) as SpanLike | undefined;
  const context = span?.spanContext();
  // An unsampled trace leads nowhere, so it is no example.
  if (context === undefined || (context.traceFlags & 1) === 0) return undefined;
  return { trace_id: context.traceId, span_id: context.spanId };
}

function size(labels: ExemplarLabels): number {
  let total = 0;
  // UTF-16 units are never fewer than the characters that the limit counts.
  for (const [name, value] of Object.entries(labels)) total += name.length + value.length;
  return total;
}

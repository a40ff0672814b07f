import type * as OpenTelemetry from '@opentelemetry/api';

/** Reads and restores W3C trace context; does nothing when `@opentelemetry/api` is not installed. */
export interface Tracing {
  /** The current context as a `traceparent` value. */
  current(): string | undefined;
  /** Runs `work` in a consumer span that continues the trace of `traceparent`. */
  run<T>(traceparent: string | undefined, name: string, work: () => T): T;
}

/** No tracing. */
export const noTracing: Tracing = { current: () => undefined, run: (_traceparent, _name, work) => work() };

/** Loads OpenTelemetry's API if it is there. */
export async function loadTracing(): Promise<Tracing> {
  try {
    return tracingOn(await import('@opentelemetry/api'));
  } catch {
    return noTracing;
  }
}

function tracingOn(api: typeof OpenTelemetry): Tracing {
  const { context, propagation, trace, ROOT_CONTEXT, SpanKind } = api;
  return {
    current: () => {
      const active = context.active();
      // Outside of any trace, which is known without a look into the context.
      if (active === ROOT_CONTEXT || trace.getSpanContext(active) === undefined) return undefined;
      const carrier: Record<string, string> = {};
      propagation.inject(active, carrier);
      return carrier['traceparent'];
    },
    run: (traceparent, name, work) => {
      if (traceparent === undefined) return work();
      const parent = propagation.extract(context.active(), { traceparent });
      const span = trace
        .getTracer('@xiaoke/queue')
        .startSpan(`process ${name}`, { kind: SpanKind.CONSUMER }, parent);
      const end = (): void => span.end();
      try {
        const result = context.with(trace.setSpan(parent, span), work);
        if (result instanceof Promise) result.then(end, end);
        else end();
        return result;
      } catch (error) {
        end();
        throw error;
      }
    },
  };
}

import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';
import type { Context, HrTime, SpanContext } from '@opentelemetry/api';
import type { IdGenerator, ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';

import type { SpanFigures } from './span-figures.js';

/** Spans that may wait to be sent; more are dropped: tracing must not take memory when its collector is away. */
const MOST_WAITING = 2048;
const MOST_SENT_AT_ONCE = 512;
const SEND_EVERY_MS = 2000;
/** Of one batch with its retries; less than what closing has. */
const SEND_DEADLINE_MS = 3000;
/** A collector that is away is told once a minute. */
const WARN_EVERY_MS = 60_000;

/** Where ended spans go. */
export interface TraceExport {
  /** The spans of one request, the one that the others are in first. Never waits and never throws. */
  add(spans: readonly SpanFigures[]): void;
  /** Sends what waits, within a deadline. */
  close(): Promise<void>;
}

/**
 * Sends spans by OTLP over HTTP in JSON to `url`. Loads OpenTelemetry's SDK, which nobody without a collector waits for;
 * the SDK reads its own environment variables (headers, sampler, resource) besides.
 */
export async function openTraceExport(
  url: string,
  version: string,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Promise<TraceExport> {
  const [api, sdk, { OTLPTraceExporter }, resources] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  const ids = new GivenIds();
  const exporter = new ToldExporter(new OTLPTraceExporter({ url, timeoutMillis: SEND_DEADLINE_MS }), clock, (reason) =>
    log.warn('traces.not-sent', { url, reason }),
  );
  const provider = new sdk.BasicTracerProvider({
    idGenerator: ids,
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes({ 'service.name': 'fleetgate', 'service.version': version }))
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [
      new sdk.BatchSpanProcessor(exporter, {
        maxQueueSize: MOST_WAITING,
        maxExportBatchSize: MOST_SENT_AT_ONCE,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: SEND_DEADLINE_MS,
      }),
    ],
  });
  const tracer = provider.getTracer('fleetgate', version);
  const within = (traceId: string, spanId: string, traceFlags: number, isRemote: boolean): Context =>
    api.trace.setSpanContext(api.ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote });
  /** The trace of a request that begins it: sampled or not by its id alone. */
  const flagsOf = (traceId: string, spanId: string): number => {
    ids.give(traceId, spanId);
    return tracer.startSpan('', { root: true }).spanContext().traceFlags;
  };
  const contextOf = ({ traceId, parent }: SpanFigures, root: SpanContext | undefined): Context => {
    if (parent === undefined) return api.ROOT_CONTEXT;
    const { SAMPLED, NONE } = api.TraceFlags;
    switch (parent.kind) {
      case 'span':
        return within(traceId, parent.spanId, root?.traceFlags ?? SAMPLED, false);
      case 'client':
        return within(traceId, parent.spanId, parent.isSampled ? SAMPLED : NONE, true);
      case 'request': {
        const { isSampled, spanId } = parent;
        const flags = isSampled === undefined ? flagsOf(traceId, spanId) : isSampled ? SAMPLED : NONE;
        return within(traceId, spanId, flags, false);
      }
    }
  };
  const kinds = { server: api.SpanKind.SERVER, client: api.SpanKind.CLIENT, internal: api.SpanKind.INTERNAL };
  return {
    add: (spans) => {
      let root: SpanContext | undefined;
      for (const figures of spans) {
        const { name, kind, startMs, endMs, events, error } = figures;
        const context = contextOf(figures, root);
        ids.give(figures.traceId, figures.spanId);
        const options = { kind: kinds[kind], startTime: timeOf(startMs), attributes: given(figures) };
        const span = tracer.startSpan(name, options, context);
        root ??= span.spanContext();
        for (const { name: event, atMs } of events) span.addEvent(event, timeOf(atMs));
        if (error !== undefined) span.setStatus({ code: api.SpanStatusCode.ERROR, message: error });
        span.end(timeOf(endMs));
      }
    },
    // Rejects with the failure of a batch, which was told when it failed.
    close: () => provider.shutdown().catch(() => {}),
  };
}

/** Ids that are known before the span is. */
class GivenIds implements IdGenerator {
  #traceId = '';
  #spanId = '';

  give(traceId: string, spanId: string): void {
    this.#traceId = traceId;
    this.#spanId = spanId;
  }

  generateTraceId(): string {
    return this.#traceId;
  }

  generateSpanId(): string {
    return this.#spanId;
  }
}

/** An exporter whose failures are told, now and then. */
class ToldExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #clock: Clock;
  readonly #warn: (reason: string) => void;
  #warnedAt: UnixMs | undefined;

  constructor(exporter: SpanExporter, clock: Clock, warn: (reason: string) => void) {
    this.#exporter = exporter;
    this.#clock = clock;
    this.#warn = warn;
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#exporter.export(spans, (result) => {
      if (result.error !== undefined) this.#tell(result.error.message);
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  #tell(reason: string): void {
    const now = this.#clock.now();
    if (this.#warnedAt !== undefined && elapsed(this.#warnedAt, now) < WARN_EVERY_MS) return;
    this.#warnedAt = now;
    this.#warn(reason);
  }
}

/** The SDK takes small plain numbers for times since the process began. */
function timeOf(unixMs: number): HrTime {
  const seconds = Math.floor(unixMs / 1000);
  return [seconds, Math.floor((unixMs - 1000 * seconds) * 1e6)];
}

function given({ attributes }: SpanFigures): Record<string, string | number | string[]> {
  const known: Record<string, string | number | string[]> = {};
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) known[key] = typeof value === 'object' ? [...value] : value;
  }
  return known;
}

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { RequestView } from '@fleetgate/shared/api/operations';
import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aCatalogue, anExpert } from '../dispatch/dispatch-fixtures.js';
import { openTraceExport } from '../platform/http-trace-export.js';
import { requestSpans } from './request-spans.js';
import { endedRequest } from './serving-figures.js';

const catalogue = aCatalogue([anExpert('math')]);
const CLIENT_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT_SPAN = '00f067aa0ba902b7';
const START = 1_700_000_000_000;

function aRecord(more: Partial<RequestView> = {}): RequestView {
  const attempt = { variantId: 'math-q8_0', startedAtMs: START + 2 };
  return {
    id: 'req-1',
    receivedAtMs: START,
    endedAtMs: START + 3000,
    state: 'succeeded',
    endpoint: '/v1/chat/completions',
    model: 'auto',
    mode: 'auto',
    classId: null,
    planId: 'plan-1',
    promptChars: 10,
    expertId: 'math',
    variantId: 'math-q8_0',
    deviceId: 'pi',
    attempts: [
      { ...attempt, deviceId: 'jetson', outcome: 'device.lost' },
      { ...attempt, deviceId: 'pi', startedAtMs: START + 500, outcome: 'succeeded' },
    ],
    why: 'math on pi: the only candidate that may be asked',
    candidates: [],
    predicted: { latencyMs: 2500, energyJ: 1 },
    actual: {
      latencyMs: 3000,
      energyJ: 1.5,
      promptTokens: 20,
      outputTokens: 11,
      ttftMs: 1000,
      energySource: 'measured',
      engine: { queueMs: 0, prefillMs: 800, decodeMs: 1000 },
    },
    finishReason: 'stop',
    error: null,
    ...more,
  };
}

interface SentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly events: readonly { readonly name: string; readonly timeUnixNano: string }[];
  readonly status: { readonly code: number };
}
interface Sent {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: SentSpan['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[];
  }[];
}

let collector: Server;
let url: string;
const bodies: Sent[] = [];
let status = 200;

beforeEach(async () => {
  bodies.length = 0;
  status = 200;
  collector = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      if (request.url === '/v1/traces') bodies.push(JSON.parse(Buffer.concat(parts).toString()) as Sent);
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
});
afterEach(() => {
  collector.closeAllConnections();
  collector.close();
});

/** What a collector receives of the records. */
async function sent(...records: readonly RequestView[]): Promise<readonly SentSpan[]> {
  const traces = await openTraceExport(url, '1.2.3', { clock: systemClock, log: silentLogger });
  for (const record of records) traces.add(requestSpans(record, endedRequest(record, catalogue)));
  await traces.close();
  return bodies.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );
}

const valueOf = (span: SentSpan | undefined, key: string): unknown =>
  Object.values(span?.attributes.find((attribute) => attribute.key === key)?.value ?? {})[0];
const nano = (ms: number): string => `${START + ms}000000`;

describe('the trace of a request', () => {
  it('reaches a collector: the request, its decision and each attempt', async () => {
    const [request, decision, lost, done, ...more] = await sent(aRecord());
    expect(more).toEqual([]);
    expect(request).toMatchObject({
      name: 'chat auto',
      kind: 2,
      startTimeUnixNano: nano(0),
      endTimeUnixNano: nano(3000),
    });
    expect(request?.parentSpanId ?? '').toBe('');
    for (const [key, value] of [
      ['gen_ai.operation.name', 'chat'],
      ['gen_ai.provider.name', 'fleetgate'],
      ['gen_ai.response.model', 'math-q8_0'],
      ['gen_ai.usage.input_tokens', 20],
      ['gen_ai.usage.output_tokens', 11],
      ['fleetgate.request.id', 'req-1'],
      ['fleetgate.device', 'pi'],
      ['fleetgate.joules', 1.5],
      ['fleetgate.joules.source', 'measured'],
    ]) {
      expect(valueOf(request, String(key)), String(key)).toEqual(value);
    }
    expect(request?.events).toMatchObject([{ name: 'first token', timeUnixNano: nano(1000) }]);
    for (const span of [decision, lost, done]) {
      expect(span).toMatchObject({ traceId: request?.traceId, parentSpanId: request?.spanId });
    }
    expect(decision).toMatchObject({ name: 'decide', endTimeUnixNano: nano(2) });
    expect(valueOf(decision, 'fleetgate.why')).toMatch(/^math on pi/);
    expect(lost).toMatchObject({ name: 'attempt', kind: 3, endTimeUnixNano: nano(500), status: { code: 2 } });
    expect(valueOf(lost, 'error.type')).toBe('device.lost');
    expect(done).toMatchObject({ endTimeUnixNano: nano(3000), status: { code: 0 } });
    expect(valueOf(done, 'fleetgate.prefill.duration')).toBe(0.8);
    const resource = bodies[0]?.resourceSpans[0]?.resource.attributes ?? [];
    expect(resource).toContainEqual({ key: 'service.version', value: { stringValue: '1.2.3' } });
  });

  it("is a part of the client's, where the client is in one, and is sampled as that is", async () => {
    const [request] = await sent(aRecord({ traceParent: `00-${CLIENT_TRACE}-${CLIENT_SPAN}-01` }));
    expect(request).toMatchObject({ traceId: CLIENT_TRACE, parentSpanId: CLIENT_SPAN });
    bodies.length = 0;
    expect(await sent(aRecord({ traceParent: `00-${CLIENT_TRACE}-${CLIENT_SPAN}-00` }))).toEqual([]);
  });

  it('has the calls of an answer of several in it', async () => {
    const call = aRecord({ id: 'call-1', callOf: 'req-1', model: 'math-q8_0' });
    const spans = await sent(call, aRecord({ collaboration: { how: 'cascade', quality: 0.5, calls: [] } }));
    const joint = spans.find(({ name }) => name === 'chat auto');
    expect(spans.find(({ name }) => name === 'chat math-q8_0')).toMatchObject({
      traceId: joint?.traceId,
      parentSpanId: joint?.spanId,
      kind: 1,
    });
  });

  it('is named by nothing that a client wrote, and says what went wrong', async () => {
    const error = { code: 'model.unknown', message: 'the fleet knows no such model' };
    const [request] = await sent(
      aRecord({
        state: 'refused',
        model: 'made up',
        attempts: [],
        actual: null,
        expertId: null,
        variantId: null,
        error,
      }),
    );
    expect(request).toMatchObject({ name: 'chat other', status: { code: 2 } });
    expect(valueOf(request, 'error.type')).toBe('model.unknown');
  });

  it('is dropped, and its loss told once, when the collector refuses it', async () => {
    status = 400;
    const told: string[] = [];
    const log = { ...silentLogger, warn: (event: string) => void told.push(event) };
    const traces = await openTraceExport(url, '1', { clock: systemClock, log });
    for (let i = 0; i < 600; i++)
      traces.add(requestSpans(aRecord({ id: `req-${i}` }), endedRequest(aRecord(), catalogue)));
    await traces.close();
    expect(told).toEqual(['traces.not-sent']);
  });
});

import { describe, expect, it } from 'vitest';

import { type ClientOutcome, type Offered, promiseBroken } from './outcome.js';
import { type KeptRecord, reconcile } from './reconcile.js';

const refusal = { kind: 'refused', status: 429, code: 'c', retryAfter: '2', shouldRetry: 'true' } as const;

function offered(traceId: string, outcome: ClientOutcome, requestId: string | undefined = `req-${traceId}`): Offered {
  return { traceId, requestId, streamed: false, lateMs: 0, firstTokenMs: undefined, totalMs: 1, outcome };
}

function record(traceId: string, state: KeptRecord['state'], more: Partial<KeptRecord> = {}): KeptRecord {
  const ends = new Set(state === 'queued' || state === 'running' ? [] : [state]);
  const none = { code: undefined, attempts: 1, hedges: 0, energyJ: 0, joint: false };
  return { id: `req-${traceId}`, traceId, state, ends, ...none, ...more };
}

describe('reconciling a load with the records', () => {
  it('agrees where every request is recorded once and as the client saw it', () => {
    const found = reconcile(
      [
        offered('a', { kind: 'answered' }),
        offered('b', refusal),
        offered('c', refusal),
        offered('d', { kind: 'broken', code: 'device_lost' }),
        offered('e', { kind: 'disconnected', reason: 'r' }),
        offered('f', { kind: 'unoffered' }, undefined),
      ],
      [
        record('a', 'succeeded'),
        record('b', 'refused', { code: 'job.queue-full' }),
        record('c', 'failed'),
        record('d', 'failed'),
        record('e', 'cancelled'),
        record('of somebody else', 'succeeded', { traceId: undefined }),
      ],
    );
    expect(found).toMatchObject({ offered: 5, agreed: 5, lost: [], unended: [], repeated: [], disagreeing: [] });
    expect(found.ends).toContainEqual(['refused 429 c', 'refused job.queue-full', 1]);
  });

  it.each<[string, Offered, readonly KeptRecord[]]>([
    ['lost', offered('a', { kind: 'answered' }), []],
    ['lost', offered('a', { kind: 'disconnected', reason: 'r' }), []],
    ['unended', offered('a', refusal), [record('a', 'running')]],
    [
      'repeated',
      offered('a', { kind: 'answered' }),
      [record('a', 'succeeded'), record('a', 'failed', { id: 'req-b' })],
    ],
    ['repeated', offered('a', { kind: 'answered' }, 'req-other'), [record('a', 'succeeded')]],
    ['repeated', offered('a', refusal), [record('a', 'failed', { ends: new Set(['succeeded', 'failed'] as const) })]],
    ['disagreeing', offered('a', { kind: 'answered' }), [record('a', 'cancelled')]],
    ['disagreeing', offered('a', { kind: 'broken', code: 'device_lost' }), [record('a', 'succeeded')]],
  ])('tells one that is %s', (what, one, records) => {
    const found = reconcile([one], records);
    expect(found).toMatchObject({ offered: 1, agreed: 0, neverArrived: 0 });
    for (const fault of ['lost', 'unended', 'repeated', 'disagreeing'] as const) {
      expect(found[fault], fault).toHaveLength(fault === what ? 1 : 0);
    }
  });

  it('does not count as lost what never reached the controller', () => {
    const one = { ...offered('a', { kind: 'disconnected', reason: 'ECONNREFUSED' }), requestId: undefined };
    expect(reconcile([one], [])).toMatchObject({ lost: [], neverArrived: 1 });
  });
});

describe('what clients are promised', () => {
  it.each<[Partial<typeof refusal> | Record<string, unknown>, boolean]>([
    [{}, true],
    [{ retryAfter: undefined }, false],
    [{ retryAfter: '31' }, false],
    [{ retryAfter: undefined, shouldRetry: 'false' }, true],
    [{ shouldRetry: undefined }, false],
    [{ code: '' }, false],
    [{ status: 500, shouldRetry: 'false' }, false],
  ])('is kept or not by %o', (more, isKept) => {
    expect(promiseBroken({ ...refusal, ...more }) === undefined).toBe(isKept);
  });
});

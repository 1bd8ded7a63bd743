import type { DeviceView, RequestView } from '@fleetgate/shared/api/operations';
import { variantId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { arrivalsFrom, catalogueFrom, specsFrom } from './running-fleet.js';
import { simulatedExperts } from './simulated-catalogue.js';

const record = (parts: Partial<RequestView>): RequestView => ({
  id: 'req-1',
  receivedAtMs: 1000,
  endedAtMs: 2000,
  state: 'succeeded',
  endpoint: '/v1/chat/completions',
  model: 'auto',
  mode: 'auto',
  classId: 'math',
  planId: null,
  promptChars: 40,
  expertId: null,
  variantId: null,
  deviceId: null,
  attempts: [],
  why: '',
  candidates: [],
  predicted: null,
  actual: null,
  finishReason: null,
  error: null,
  ...parts,
});
const actual = (outputTokens: number): NonNullable<RequestView['actual']> => ({
  latencyMs: 1,
  energyJ: 1,
  promptTokens: 12,
  outputTokens,
  ttftMs: 1,
  energySource: 'modelled',
});

describe('arrivalsFrom', () => {
  it('gives the requests of a log in the order they came, those that got no answer with a likely length', () => {
    const arrivals = arrivalsFrom([
      record({ receivedAtMs: 5000, state: 'refused', classId: null, model: 'math' }),
      record({ receivedAtMs: 2000, actual: actual(20) }),
      record({ receivedAtMs: 3000, actual: actual(40), endpoint: '/v1/messages' }),
      record({ receivedAtMs: 2500, actual: actual(99), callOf: 'req-0' }),
      record({ receivedAtMs: 2500, actual: actual(99), endpoint: '/api/v1/score' }),
    ]);
    expect(arrivals).toEqual([
      { atMs: 0, promptTokens: 12, outputTokens: 20, classId: 'math', model: 'auto' },
      { atMs: 1000, promptTokens: 12, outputTokens: 40, classId: 'math', model: 'auto' },
      { atMs: 3000, promptTokens: 10, outputTokens: 30, model: 'math' },
    ]);
    expect(arrivalsFrom([])).toEqual([]);
  });
});

describe('specsFrom', () => {
  it('takes devices that are online and have measured, as fast as they measured', () => {
    const experts = simulatedExperts(['math-1b']).map(({ expert }) => expert);
    const catalogue = catalogueFrom(experts);
    const measured = {
      variantId: variantId('math-1b-q4'),
      sha256: 'a'.repeat(64),
      prefillTokensPerS: 500,
      decodeTokensPerS: 50,
      relativeSd: 0,
      prefillJPerToken: 0.01,
      decodeJPerToken: 0.1,
      energySource: 'modelled' as const,
      overheadMs: 1,
      loadMs: 1,
      memoryBytes: 1e9,
      measuredAtMs: 1,
    };
    const device = {
      id: 'pi',
      state: 'online',
      memory: { budgetBytes: 4 * 2 ** 30, usedBytes: 0 },
      power: { source: 'modelled', from: '', idleW: 3, loadW: 9 },
      slots: 2,
      measurements: [measured],
    } as unknown as DeviceView;
    const specs = specsFrom(
      [device, { ...device, id: 'off', state: 'offline' }, { ...device, id: 'new', measurements: [] }],
      catalogue,
    );
    expect(specs).toHaveLength(1);
    expect(specs[0]?.board).toMatchObject({ name: 'pi', memoryGiB: 4, slots: 2, idleW: 3, loadW: 9 });
    expect(specs[0]?.speeds.get(variantId('math-1b-q4'))).toMatchObject({
      prefillTokensPerS: 500,
      decodeTokensPerS: 50,
    });
  });
});

import type { CandidateView, DeviceView } from '@fleetgate/shared/api/operations';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { fleetFigures, meanEnergyJ, sparkline, standing } from '../../controller/dashboard/src/fleet/fleet-figures.js';
import { costScales } from '../../controller/dashboard/src/record/record-words.js';
import { powerSeries, requestSeries } from '../../controller/dashboard/src/requests/series.js';
import { DEVICES, deviceView } from '../support/dashboard-fixture-fleet.js';
import { candidatesFor, endedRequest } from '../support/dashboard-fixture-requests.js';

const NOW = 1_700_000_000_000;
const views = (over: readonly Partial<DeviceView>[]): readonly DeviceView[] =>
  over.flatMap((each, i) => {
    const device = DEVICES[i];
    return device === undefined ? [] : [{ ...deviceView(device, NOW, { powerW: 5, outputTokensPerS: 10 }), ...each }];
  });

describe('fleet totals', () => {
  it('adds up what online devices say, and says where the power comes from', () => {
    const power = { source: 'measured' as const, from: 'ina3221', idleW: 1, loadW: 9 };
    const figures = fleetFigures(views([{}, { power }, { state: 'offline' }]));
    expect(figures).toMatchObject({ total: 3, online: 2, powerW: 10, tokensPerS: 20, powerSource: 'mixed' });
    expect(fleetFigures(views([{}])).powerSource).toBe('modelled');
  });

  it('does not take missing power for 0 W', () => {
    expect(fleetFigures([]).powerW).toBeNull();
    expect(fleetFigures(views([{ last: {} }])).powerW).toBeNull();
  });

  it('means the energy of recent answers only', () => {
    const requests = [endedRequest('a', NOW, 'Hi!', 'auto', 'p'), endedRequest('b', NOW - 9e6, 'Hi!', 'auto', 'p')];
    expect(meanEnergyJ(requests, NOW - 1000)).toBe(requests[0]?.actual?.energyJ);
    expect(meanEnergyJ([], 0)).toBeNull();
  });
});

describe('costs of candidates', () => {
  const candidate = candidatesFor('math', new SeededRandom(1))[0];
  const costing = (energyJ: number | null, latencyMs: number | null): CandidateView[] =>
    candidate === undefined ? [] : [{ ...candidate, energyJ, latencyMs }];

  it('are drawn on one scale, with what the answer did cost', () => {
    const { actual } = endedRequest('a', NOW, 'Hi!', 'auto', 'p');
    const candidates = [...costing(3, 100), ...costing(null, null), ...costing(1, 900)];
    expect(costScales({ candidates, actual: null })).toEqual({ energyJ: 3, latencyMs: 900 });
    if (actual === null) throw new Error('expected an answered request');
    expect(costScales({ candidates, actual: { ...actual, energyJ: 7, latencyMs: 5 } })).toEqual({
      energyJ: 7,
      latencyMs: 900,
    });
    expect(costScales({ candidates: [], actual: null })).toEqual({ energyJ: 0, latencyMs: 0 });
  });
});

it.each([
  [{ state: 'offline' as const }, 'offline', 'off'],
  [{ state: 'never-seen' as const }, 'never seen', 'off'],
  [{ engine: { kind: 'llama', version: '1', state: 'restarting' } }, 'engine restarting', 'warn'],
  [{ variants: [{ variantId: 'x', residency: 'failed' as const }] }, 'needs a look', 'warn'],
  [{ activity: 'measuring' as const }, 'measuring', 'busy'],
  [{ settled: false }, 'settling', 'busy'],
  [{}, 'online', 'good'],
])('a device %j stands as %s', (over, word, tone) => {
  expect(views([over]).map(standing)).toEqual([{ word, tone }]);
});

it('draws a sparkline in its box, and none of a single sample', () => {
  const samples = [
    { atMs: NOW - 5000, powerW: 0 },
    { atMs: NOW, powerW: 10 },
  ];
  expect(sparkline(samples, NOW, 10_000, 100, 22)).toBe('50.0,22.0 100.0,2.0');
  expect(sparkline(samples.slice(1), NOW, 10_000, 100, 22)).toBe('');
});

describe('series', () => {
  it('counts each request once, in the bucket in which it ended', () => {
    const requests = [0, 10_000, 40_000, 2_000_000].map((age, i) => {
      const request = endedRequest(`r${i}`, NOW - age - 500, 'Hi!', 'auto', 'p');
      return { ...request, endedAtMs: NOW - age };
    });
    const series = requestSeries(requests, NOW + 1, 90_000, 30_000);
    expect(series.timesS).toHaveLength(3);
    expect(series.requests.reduce((sum, n) => sum + n, 0)).toBe(3);
    const energyJ = requests.slice(0, 3).reduce((sum, request) => sum + (request.actual?.energyJ ?? 0), 0);
    expect(series.energyJ.reduce((sum, n) => sum + n, 0)).toBeCloseTo(energyJ);
  });

  it('holds a value between samples, but not for longer than told, nor into the future', () => {
    const start = 1_700_000_000_000 - (1_700_000_000_000 % 10_000);
    const power = new Map([
      [
        'pi',
        [
          { atMs: start, powerW: 4 },
          { atMs: start + 1000, powerW: 6 },
        ],
      ],
    ]);
    const { devices } = powerSeries(power, start + 40_000, 50_000, 10_000, 20_000);
    expect(devices).toEqual([{ id: 'pi', watts: [null, 5, 5, 5, null] }]);
  });
});

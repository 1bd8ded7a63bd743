import { describe, expect, test } from 'vitest';

import {
  type Cell,
  DIRECT,
  gatewayFigures,
  type Kind,
  loadTable,
  mediansOf,
  OURS,
  PORTKEY,
} from './gateway-figures.js';

function aCell(target: string, round: number, perS: number, more: Partial<Cell> & { readonly kind?: Kind } = {}): Cell {
  const meanMs = 10_000 / perS;
  const load = { answered: perS, failed: 0, firstFailure: undefined, seconds: 1, meanMs, p50Ms: meanMs, p99Ms: meanMs };
  const own = { target, kind: 'json', connections: 10, round, cpuMs: 1000 / perS, othersCpuMs: {} } as const;
  return { ...own, load: { ...load, frames: 0 }, ...more };
}

describe('figures of gateways', () => {
  test('ratios and added time are those of each round, of which the median is told', () => {
    const cells = [
      ...[1000, 2000, 4000].map((perS, round) => aCell(DIRECT, round, perS)),
      ...[100, 400, 200].map((perS, round) => aCell(OURS, round, perS)),
    ];
    const ours = mediansOf(cells, 'json').find(({ target }) => target === OURS);
    expect(ours).toMatchObject({ perS: 200, ofDirect: 0.1, cpuMs: 5 });
    expect(ours?.addedMs).toBeCloseTo(47.5, 9);
  });

  test('the bars stand beside every figure, Portkey where it ran', () => {
    const alone = [aCell(DIRECT, 0, 1000), aCell(OURS, 0, 500)];
    expect(gatewayFigures(alone).map(({ otherName }) => otherName)).toEqual(['bar', 'bar']);
    const beside = gatewayFigures([...alone, aCell(PORTKEY, 0, 100)]);
    expect(beside.find(({ unit, otherName }) => unit === '1/s' && otherName === PORTKEY)?.ratio).toBe(5);
  });

  test('a kind that was not measured has an empty table', () => {
    expect(loadTable([aCell(DIRECT, 0, 1000)], 'stream').rows).toEqual([]);
  });
});

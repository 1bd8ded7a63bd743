import { describe, expect, it } from 'vitest';

import type { BenchAnswer } from './bench-offload-child.js';
import { bytesOf, figuresOf, isLossless, reportText } from './bench-offload-report.js';
import type { ContestResult, Floors, Pair } from './bench-offload-run.js';

const answer = (more: Partial<BenchAnswer> = {}): BenchAnswer => ({
  ...{ ms: 100, cpuMs: 80, readBytes: 20e6, majorFaults: 0, residentBytes: 0, hash: 1, tokenMs: [50, 50] },
  ...more,
});

const pair = (stockMs: number, oursMs: number, more: Partial<BenchAnswer> = {}): Pair => ({
  stock: answer({ ms: stockMs, readBytes: 60e6 }),
  ours: answer({ ms: oursMs, ...more }),
});

const result = (more: Partial<ContestResult> = {}): ContestResult => ({
  ...{ load: pair(900, 300), limitsMemory: true, throttles: true, trace: [] },
  ...{ decode: [[pair(400, 100), pair(300, 100), pair(900, 100)]], prefill: [pair(140, 100)] },
  ...more,
});
const SPEEDS = [90e6];

const floors = (own: number, best: number): Floors => {
  const simulated = { policy: 'x', routed: 1, hits: 0, hitRate: 0, bytesRead: 0 };
  return { own: { ...simulated, bytesPerToken: own }, belady: { ...simulated, bytesPerToken: best } };
};

describe('figuresOf', () => {
  it('takes the median of the turns, and tells what all of them together and the least and best were', () => {
    const [decode] = figuresOf('50 %', SPEEDS, result());
    expect(decode).toMatchObject({ what: 'decode', cap: '50 %', storage: '90 MB/s', unit: 'ms/token', wanted: 1.5 });
    expect(decode?.ratio).toBe(4);
    expect(decode?.spread.map((one) => Number(one.toFixed(3)))).toEqual([5.333, 3, 9]);
  });

  it('counts per decoded token, and a prompt as one', () => {
    const [decode, prefill, load] = figuresOf('50 %', SPEEDS, result());
    expect(decode).toMatchObject({ ours: 50, oursMbPerToken: 10, stockMbPerToken: 30, oursCpuMs: 40 });
    expect(prefill).toMatchObject({ what: 'prefill', ours: 100, oursMbPerToken: 20, unit: 'ms', wanted: 1.5 });
    expect(load).toMatchObject({ what: 'load', ratio: 3, storage: 'unthrottled' });
    expect(load).not.toHaveProperty('wanted');
  });

  it('knows the least time of throttled storage only, and hits where slabs were looked after', () => {
    const figures = { routed: 40, hits: 30, waitMs: 12, readAhead: 2 };
    const looked = { ...result(), decode: [[pair(400, 100, { figures })], [pair(400, 100)]] };
    const [slow, fast] = figuresOf('35 %', [90e6, undefined], looked);
    expect(slow).toMatchObject({ hitRate: 0.75, waitMs: 6, readAhead: 1, wanted: 1.8 });
    expect(slow?.floorMs).toBeCloseTo((1000 * 10e6) / 90e6, 9);
    expect(fast).toMatchObject({ wanted: 4 });
    for (const unknown of ['hitRate', 'waitMs', 'readAhead', 'floorMs']) expect(fast).not.toHaveProperty(unknown);
  });

  it('takes the mean of the two in the middle of an even number of turns', () => {
    const even = { ...result(), decode: [[pair(400, 100), pair(200, 100)]] };
    expect(figuresOf('fits', SPEEDS, even)[0]).toMatchObject({ ratio: 3, wanted: 0.97 });
  });

  it('has no bar for a cap that nothing was asked of, and no prompt where there was none', () => {
    const figures = figuresOf('70 %', SPEEDS, result({ prefill: [] }));
    expect(figures.map(({ what }) => what)).toEqual(['decode', 'load']);
    expect(figures[0]).not.toHaveProperty('wanted');
  });
});

describe('bytesOf', () => {
  it('is over all decoded tokens of a cap, beside what the policies would have read', () => {
    expect(bytesOf('50 %', result(), floors(9.5e6, 4e6))).toEqual({
      ...{ cap: '50 %', oursMb: 10, stockMb: 30, ownFloorMb: 9.5, beladyMb: 4 },
    });
  });
});

describe('isLossless', () => {
  it('is false for one turn or prompt whose logits differ by a bit', () => {
    expect(isLossless(result())).toBe(true);
    expect(isLossless(result({ decode: [[pair(1, 1), pair(1, 1, { hash: 2 })]] }))).toBe(false);
    expect(isLossless(result({ prefill: [pair(1, 1, { hash: 2 })] }))).toBe(false);
  });
});

describe('reportText', () => {
  it('says what was met and what was missed, and shouts where answers differ', () => {
    const contest = result();
    const report = {
      ...{ figures: figuresOf('50 %', SPEEDS, contest), bytes: [bytesOf('50 %', contest, floors(8e6, 4e6))] },
      ...{ isLossless: true, notes: ['read-ahead 128 KB'] },
    };
    const text = reportText(report);
    expect(text).toMatch(/decode +50 % +90 MB\/s +50\.0 ms\/token +267 +4\.00x +5\.33 \(3\.00-9\.00\) +met 1\.5x/);
    expect(text).toMatch(/prefill .*1\.40x +missed 1\.5x/);
    expect(text).toContain('floor 8.00 (25.0 % over), Belady 4.00, stock 30.00');
    expect(text).toContain('note: read-ahead 128 KB');
    expect(text).toContain('to the bit');
    expect(reportText({ ...report, isLossless: false })).toContain('LOGITS DIFFER');
  });
});

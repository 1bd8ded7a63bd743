import { describe, expect, it } from 'vitest';

import {
  ago,
  bytes,
  celsius,
  count,
  duration,
  joules,
  parts,
  percent,
  quantity,
  timeOfDay,
  tokensPerS,
  UNKNOWN,
  watts,
} from '../../controller/dashboard/src/format.js';

const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

describe('quantities for people', () => {
  it.each([
    [watts(0), '0.00 W'],
    [watts(4.236), '4.24 W'],
    [watts(18.44), '18.4 W'],
    [watts(132.4), '132 W'],
    [watts(1320), '1.32 kW'],
    [joules(0), '0 J'],
    [joules(0.042), '42.0 mJ'],
    [joules(0.84), '0.84 J'],
    [joules(12.35), '12.3 J'],
    [joules(1234), '1.23 kJ'],
    [duration(0.4), '0.40 ms'],
    [duration(842.4), '842 ms'],
    [duration(1240), '1.24 s'],
    [duration(125_000), '2 min 05 s'],
    [bytes(0), '0 MiB'],
    [bytes(1_424_128), '1.36 MiB'],
    [bytes(12 * 1024 ** 3), '12.0 GiB'],
    [tokensPerS(0), '0 tok/s'],
    [tokensPerS(41.2), '41.2 tok/s'],
    [celsius(51.4), '51 °C'],
    [percent(0), '0 %'],
    [percent(0.0042), '0.42 %'],
    [percent(0.067), '6.7 %'],
    [percent(0.615), '62 %'],
    [count(1, 'device'), '1 device'],
    [count(3, 'device'), '3 devices'],
  ])('%s', (shown, expected) => {
    expect(plain(shown)).toBe(expected);
  });

  it('shows a dash for what is not known, never a number', () => {
    for (const show of [watts, joules, duration, bytes, tokensPerS, percent]) {
      expect(show(null)).toBe(UNKNOWN);
      expect(show(undefined)).toBe(UNKNOWN);
      expect(show(Number.NaN)).toBe(UNKNOWN);
      expect(show(Infinity)).toBe(UNKNOWN);
    }
  });

  it('reads the units of plan constraints', () => {
    expect(
      [
        quantity(13.2, 'W'),
        quantity(4, 's'),
        quantity(1.5, 'GiB'),
        quantity(0.8, 'ratio'),
        quantity(2, ''),
        quantity(3, 'requests/s'),
      ].map(plain),
    ).toEqual(['13.2 W', '4.00 s', '1.50 GiB', '80 %', '2', '3 requests/s']);
  });

  it('tells ages; a clock that is ahead reads as now', () => {
    const now = 1_700_000_000_000;
    const ages = [null, now + 5000, now - 1000, now - 12_000, now - 200_000, now - 7_300_000, now - 200_000_000];
    expect(ages.map((at) => plain(ago(at, now)))).toEqual([
      'never',
      'now',
      'now',
      '12 s ago',
      '3 min ago',
      '2 h ago',
      '2 d ago',
    ]);
  });

  it('tells the time of day, and splits a figure from its unit', () => {
    expect(timeOfDay(new Date(2026, 0, 2, 3, 4, 5).getTime())).toBe('03:04:05');
    expect(parts(watts(18.4))).toEqual(['18.4', 'W']);
    expect(parts(UNKNOWN)).toEqual([UNKNOWN, '']);
  });
});

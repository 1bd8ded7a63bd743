import { describe, expect, it } from 'vitest';

import type { Reconciliation } from '../load/reconcile.js';
import { chaosReport, type RoundSeen } from './chaos-report.js';

const fine: Reconciliation = {
  offered: 10,
  agreed: 10,
  lost: [],
  unended: [],
  repeated: [],
  disagreeing: [],
  neverArrived: 0,
  ends: [['answered', 'succeeded', 10]],
};
const round = (reconciliation: Partial<Reconciliation>, answeredMs: number | undefined = 400): RoundSeen => ({
  fault: { kind: 'kill-controller', victim: 'controller', beginsAfterMs: 0, lastsMs: 0 },
  answeredMs,
  wholeMs: 1200,
  isIdle: true,
  reconciliation: { ...fine, ...reconciliation },
});
const plan = { rounds: 2, ratePerS: 2, seed: 1 };
const reportOf = (rounds: readonly RoundSeen[], changed: readonly string[] = []) =>
  chaosReport({ plan, impossible: new Map([['fill-disk', 'mounting is not permitted']]), rounds, changed });
const figureOf = (report: ReturnType<typeof reportOf>, what: string) =>
  report.figures.find((figure) => figure.what === what)?.ours;

describe('chaosReport', () => {
  it('adds rounds up, and tells what was not tried', () => {
    const report = reportOf([round({}), round({}, 2500)]);
    expect(figureOf(report, 'sent')).toBe(20);
    expect(report.tables[0]?.rows).toEqual([['kill-controller', 2, 20, '0.4 (2.5)', '1.2 (1.2)']]);
    expect(report.tables[1]?.rows).toEqual([['answered', 'succeeded', 20]]);
    expect(report.notes).toContain('not tried: fill-disk, mounting is not permitted');
    expect(report.notes.some((note) => note.startsWith('FAULT'))).toBe(false);
  });

  it('names everything that must not happen', () => {
    const report = reportOf(
      [round({ lost: ['a'], unended: ['b'], repeated: ['c'] }), { ...round({}), answeredMs: undefined }],
      ['d'],
    );
    expect(figureOf(report, 'accepted and lost, or without an end')).toBe(2);
    expect(figureOf(report, 'with more than one end')).toBe(2);
    expect(figureOf(report, 'not back')).toBe(1);
    expect(report.notes.filter((note) => note.startsWith('FAULT'))).toHaveLength(5);
  });
});

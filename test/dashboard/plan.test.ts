import type { PlanConstraint } from '@fleetgate/shared/api/operations';
import { describe, expect, it } from 'vitest';

import {
  changeOutcome,
  OUTCOME_DEADLINE_MS,
  parsePower,
  repairPowerW,
} from '../../controller/dashboard/src/plan/budget-change.js';
import {
  byTightness,
  constraintTitle,
  gauge,
  priceSentence,
  proofSentence,
  usedOfLimit,
} from '../../controller/dashboard/src/plan/plan-words.js';
import { placementMatrix } from '../../controller/dashboard/src/plan/placement.js';
import { applySnapshot, emptyFleet } from '../../controller/dashboard/src/state/live.js';
import { DEVICES, deviceView, expertViews } from '../support/dashboard-fixture-fleet.js';
import { planFor, START_BUDGETS } from '../support/dashboard-fixture-plan.js';

const NOW = 1_700_000_000_000;
const plain = (text: string | null): string | null => text?.replaceAll('\u00a0', ' ') ?? null;
const bound = (over: Partial<PlanConstraint>): PlanConstraint => ({
  group: 'power',
  subject: '',
  used: 12,
  limit: 13,
  unit: 'W',
  binding: false,
  price: null,
  ...over,
});
const plan = planFor(START_BUDGETS, 'p1', NOW, 'device joined');
const refused = (powerW: number) => planFor({ ...START_BUDGETS, fleetPowerW: powerW }, 'bad', NOW, 'budget changed');

describe('prices in words', () => {
  it.each([
    [bound({ price: 0.6 }), '+1 W would buy 0.6 points'],
    [bound({ price: 1 }), '+1 W would buy 1 point'],
    [bound({ price: 41.5 }), '+1 W would buy 41.5 points'],
    [bound({ price: 0.02 }), '+10 W would buy 0.2 points'],
    [bound({ unit: 'ms', price: 0.0011 }), '+100 ms would buy 0.11 points'],
    [bound({ unit: 's', price: 3 }), '+100 ms would buy 0.3 points'],
    [bound({ group: 'demand', unit: 'ratio', price: 50 }), '−1 % would buy 0.5 points'],
    [bound({ price: null }), null],
    [bound({ price: 0 }), null],
    [bound({ price: 1e-9 }), null],
  ])('%#', (constraint, sentence) => {
    expect(plain(priceSentence(constraint))).toBe(sentence);
  });
});

describe('gauges', () => {
  it('fills a ceiling up to its limit and marks a floor where it stands', () => {
    expect(gauge(bound({ used: 6.5 }))).toEqual({ fill: 0.5, mark: 1 });
    expect(gauge(bound({ used: 30 }))).toEqual({ fill: 1, mark: 1 });
    expect(gauge(bound({ group: 'demand', used: 1, limit: 0.95 }))).toEqual({ fill: 1, mark: 0.95 });
    expect(gauge(bound({ used: 0, limit: 0 })).fill).toBe(0);
  });

  it('puts binding bounds first, then the fullest', () => {
    const order = byTightness([
      bound({ subject: 'half', used: 6 }),
      bound({ subject: 'full', used: 12.9 }),
      bound({ subject: 'binds', used: 13, binding: true, price: 2 }),
    ]);
    expect(order.map((constraint) => constraint.subject)).toEqual(['binds', 'full', 'half']);
  });

  it('says what is used of what', () => {
    expect(plain(usedOfLimit(bound({})))).toBe('12.0 W of 13.0 W');
    expect(plain(usedOfLimit(bound({ group: 'demand', used: 1, limit: 0.95, unit: 'ratio' })))).toBe(
      '100 %, at least 95 %',
    );
    expect(constraintTitle(bound({ group: 'util', subject: 'pi' }))).toBe('Busy time, pi');
    expect(constraintTitle(bound({ group: 'newer' }))).toBe('newer');
  });
});

it('says how close a plan is to the best', () => {
  expect(proofSentence(plan)).toBe('Proven best.');
  expect(plain(proofSentence({ ...plan, status: 'feasible', gap: 0.02, bound: 730 }))).toBe(
    'At most 2.0 % below the best there can be (730).',
  );
  expect(proofSentence({ ...plan, status: 'feasible', gap: null })).toBe('Best found; no bound is known.');
  expect(proofSentence(refused(1))).toBe('No placement was found.');
});

it('draws the matrix: busiest expert first, unplaced ones last, with the state on the device', () => {
  const fleet = applySnapshot(emptyFleet, {
    status: null as never,
    devices: DEVICES.map((device) => deviceView(device, NOW, {})),
    experts: expertViews(NOW),
    plans: [plan],
    budgets: START_BUDGETS,
    requests: [],
  });
  const tight = { ...plan, placements: plan.placements.filter((each) => each.variantId !== 'moe-q8_0') };
  const matrix = placementMatrix(fleet, tight);
  expect(matrix.devices.map((device) => device.id)).toEqual(['jetson', 'phone', 'pi']);
  expect(matrix.rows).toHaveLength(9);
  expect(matrix.rows.at(-1)).toMatchObject({ expertId: 'moe', placed: false });
  const story = matrix.rows.find((row) => row.expertId === 'story')?.cells.find((cell) => cell.deviceId === 'phone');
  expect(story).toMatchObject({ variantId: 'story-q8_0', residency: 'fetching' });
  const shares = matrix.rows.filter((row) => row.placed).map((row) => row.share);
  expect(shares).toEqual([...shares].sort((a, b) => b - a));
});

describe('a change of the power budget', () => {
  it.each([
    ['25', 25],
    [' 25,5 W ', 25.5],
    ['.5', 0.5],
    ['', null],
  ])('reads %j', (text, fleetPowerW) => {
    expect(parsePower(text)).toEqual({ ok: true, fleetPowerW });
  });

  it.each(['a lot', '-3', '0', '1e9', '12 13', 'NaN', 'Infinity', '0x10', '.'])('refuses %j and says why', (text) => {
    const read = parsePower(text);
    expect(read).toMatchObject({ ok: false });
    expect(read.ok ? '' : read.message).toContain(text);
  });

  it('ends in a new plan, a refusal, or the old plan kept', () => {
    const change = { savedAtMs: NOW, knownIds: new Set(['p1']), before: plan };
    const next = planFor(START_BUDGETS, 'p2', NOW + 9, 'budget changed');
    expect(changeOutcome(change, [plan], NOW + 1000)).toEqual({ kind: 'waiting' });
    expect(changeOutcome(change, [next, plan], NOW + 1000)).toMatchObject({ kind: 'planned', plan: { id: 'p2' } });
    expect(changeOutcome(change, [refused(1), plan], NOW + 1000)).toMatchObject({
      kind: 'refused',
      plan: { id: 'bad' },
    });
    expect(changeOutcome(change, [{ ...next, state: 'proposed' }, plan], NOW + 1000)).toEqual({ kind: 'waiting' });
    expect(changeOutcome(change, [plan], NOW + OUTCOME_DEADLINE_MS + 1)).toEqual({ kind: 'kept' });
  });

  it('offers the power that the smallest repair needs, rounded up to a tenth', () => {
    expect(repairPowerW(refused(5))).toBe(11.2);
    expect(repairPowerW({ ...refused(5), relaxations: [{ group: 'power', slack: 6.21, unit: 'W', text: '' }] })).toBe(
      11.3,
    );
    expect(repairPowerW({ ...refused(5), relaxations: null })).toBeNull();
    expect(
      repairPowerW({ ...refused(5), relaxations: [{ group: 'demand', slack: 1, unit: 'ratio', text: '' }] }),
    ).toBeNull();
  });
});

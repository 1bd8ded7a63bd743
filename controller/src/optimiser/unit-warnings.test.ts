import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { median } from './odd-figures.js';
import type { PlacementProblem } from './problem.js';
import { unitWarnings } from './unit-warnings.js';

const fleet = smallFleet();
const withArcs = (change: (arc: PlacementProblem['arcs'][number]) => object): PlacementProblem => ({
  ...fleet,
  arcs: fleet.arcs.map((arc) => ({ ...arc, ...change(arc) })),
});
const withClasses = (change: object): PlacementProblem => ({
  ...fleet,
  classes: fleet.classes.map((each) => ({ ...each, ...change })),
});
const withDevices = (change: object): PlacementProblem => ({
  ...fleet,
  devices: fleet.devices.map((each) => ({ ...each, ...change })),
});

it('takes the median of many arcs from a sample', () => {
  const [arc] = fleet.arcs;
  if (arc === undefined) throw new Error('no arc');
  const arcs = Array.from({ length: 95_000 }, (_, i) => ({ ...arc, service_s: (i * 7919) % 95_000 }));
  let asked = 0;
  const middle = median(arcs, ({ service_s }) => {
    asked++;
    return service_s;
  });
  expect(asked).toBeLessThan(20_001);
  expect(Math.abs(middle - 47_500)).toBeLessThan(500);
  expect(median([], () => 1)).toBeNaN();
});

describe('unitWarnings', () => {
  it.each([
    ...['fleet-01-plain', 'fleet-03-kappa2', 'fleet-05-redundancy3', 'fleet-07-move-budget', 'fleet-09-slo-tight'],
    ...['fleet-13-symmetric', 'fleet-15-inf-power', 'fleet-17-inf-memory', 'fleet-19-inf-move'],
  ])('has nothing to say on %s', (name) => {
    expect(unitWarnings(referenceProblem(name).problem)).toEqual([]);
  });

  it('has nothing to say on a small fleet, nor on an empty one', () => {
    expect(unitWarnings(fleet)).toEqual([]);
    expect(unitWarnings({ ...fleet, classes: [], variants: [], devices: [], arcs: [] })).toEqual([]);
  });

  const thousandfold: readonly (readonly [string, (problem: PlacementProblem, factor: number) => PlacementProblem])[] =
    [
      ['budgets.powerW', (p, f) => ({ ...p, budgets: { ...p.budgets, powerW: p.budgets.powerW * f } })],
      ['devices.idleW', (p, f) => ({ ...p, devices: p.devices.map((each) => ({ ...each, idleW: each.idleW * f })) })],
      [
        'devices.powerCapW',
        (p, f) => ({ ...p, devices: p.devices.map((each) => ({ ...each, powerCapW: (each.idleW + 6) * f })) }),
      ],
      [
        'devices.memGiB',
        (p, f) => ({ ...p, devices: p.devices.map((each) => ({ ...each, memGiB: each.memGiB * f })) }),
      ],
      ['arcs.service_s', (p, f) => ({ ...p, arcs: p.arcs.map((arc) => ({ ...arc, service_s: arc.service_s * f })) })],
      ['arcs.latency_s', (p, f) => ({ ...p, arcs: p.arcs.map((arc) => ({ ...arc, latency_s: arc.latency_s * f })) })],
      ['arcs.energy_J', (p, f) => ({ ...p, arcs: p.arcs.map((arc) => ({ ...arc, energy_J: arc.energy_J * f })) })],
      [
        'sloMean_s',
        (p, f) => ({ ...p, classes: p.classes.map((each) => ({ ...each, sloMean_s: each.sloMean_s * f })) }),
      ],
      [
        'maxEnergy_J',
        (p, f) => ({
          ...p,
          classes: p.classes.map((each, k) => {
            const figures = p.arcs.flatMap((arc) => (arc.k === k ? [arc.energy_J] : []));
            return { ...each, maxEnergy_J: 1.5 * Math.min(...figures) * f };
          }),
        }),
      ],
    ];
  it.each(thousandfold)(
    'suspects %s a thousand times too large or too small in every reference instance',
    (field, scale) => {
      for (const name of ['fleet-01-plain', 'fleet-05-redundancy3', 'fleet-09-slo-tight', 'fleet-13-symmetric']) {
        const { problem } = referenceProblem(name);
        for (const factor of [1000, 1 / 1000]) {
          expect([field, name, factor, unitWarnings(scale(problem, factor)).length > 0]).toEqual([
            field,
            name,
            factor,
            true,
          ]);
        }
        expect([field, name, unitWarnings(scale(problem, 1))]).toEqual([field, name, []]);
      }
    },
  );

  it('suspects demand a thousand times too large', () => {
    for (const name of ['fleet-01-plain', 'fleet-05-redundancy3', 'fleet-09-slo-tight', 'fleet-13-symmetric']) {
      const { problem } = referenceProblem(name);
      const classes = problem.classes.map((each) => ({ ...each, rate: each.rate * 1000 }));
      expect(unitWarnings({ ...problem, classes })[0]).toContain('probably requests per minute, hour or day');
    }
  });

  it('takes bounds far above all for none', () => {
    const { problem } = referenceProblem('fleet-01-plain');
    const classes = problem.classes.map((each) => ({ ...each, sloMean_s: 1e9 }));
    const devices = problem.devices.map((each) => ({ ...each, powerCapW: 1e9 }));
    expect(unitWarnings({ ...problem, classes, devices })).toEqual([]);
  });

  it.each<[string, PlacementProblem, string]>([
    [
      'memory in MiB',
      withDevices({ memGiB: 8192 }),
      'devices.0.memGiB is 8192 GiB (and 1 more): probably MiB, not GiB.',
    ],
    [
      'memory in bytes',
      { ...fleet, variants: fleet.variants.map((each) => ({ ...each, memGiB: each.memGiB * 2 ** 30 })) },
      'variants.0.memGiB is 4295000000 GiB (and 1 more): probably bytes, not GiB.',
    ],
    [
      'a move budget in bytes',
      { ...fleet, budgets: { ...fleet.budgets, moveGiB: 2 ** 33 } },
      'budgets.moveGiB is 8590000000 GiB: probably bytes, not GiB.',
    ],
    [
      'service in milliseconds',
      withArcs((arc) => ({ service_s: arc.service_s * 10_000, latency_s: arc.latency_s * 10_000 })),
      'arcs.0.service_s is 2000 s (and 7 more): probably milliseconds, not seconds.',
    ],
    [
      'service in milliseconds beside latency in seconds',
      withArcs((arc) => ({ service_s: arc.service_s * 1000, energy_J: arc.energy_J * 1000 })),
      'arcs.0.latency_s is 0.003 of service_s (and 7 more): probably service_s in milliseconds, or latency_s without the service.',
    ],
    [
      'latency in milliseconds',
      withArcs((arc) => ({ latency_s: arc.latency_s * 1000 })),
      'arcs.0.latency_s is 3000 times service_s (and 7 more): probably latency_s in milliseconds.',
    ],
    [
      'energy in millijoules',
      withArcs((arc) => ({ energy_J: arc.energy_J * 1000 })),
      'arcs.0.energy_J / service_s is 10000 W (and 7 more): probably energy_J in millijoules.',
    ],
    [
      'energy in kilojoules',
      withArcs((arc) => ({ energy_J: arc.energy_J / 100_000 })),
      'arcs.0.energy_J / service_s is 0.0001 W (and 7 more): probably energy_J in kilojoules, or service_s in milliseconds.',
    ],
    [
      'idle in milliwatts',
      withDevices({ idleW: 4500, powerCapW: 10_000 }),
      'devices.0.idleW is 4500 W (and 1 more): probably milliwatts, not watts.',
    ],
    [
      'a power budget in kilowatts',
      { ...fleet, budgets: { ...fleet.budgets, powerW: 0.1 } },
      'budgets.powerW is 0.1 W against 2 W of idling: probably kilowatts, not watts.',
    ],
    [
      'a power budget in milliwatts',
      { ...fleet, budgets: { ...fleet.budgets, powerW: 20_000 } },
      'budgets.powerW is 20000 W against 2 W of idling: probably milliwatts, not watts.',
    ],
    [
      'a battery in watt-hours',
      withDevices({ battery_J: 3 }),
      'devices.0.battery_J is 3 J for 3600 s (and 1 more): probably watt-hours or kilojoules, not joules.',
    ],
    [
      'demand per day',
      withClasses({ rate: 86_400 }),
      'classes.0.rate is 86400 requests/s (and 1 more): probably requests per minute, hour or day.',
    ],
    [
      'quality in percent',
      withArcs((arc) => ({ quality: arc.quality * 100 })),
      'arcs.0.quality is 90 of at most 1 (and 7 more): probably percent, not a share.',
    ],
    [
      'an uplink in Mbit/s',
      { ...fleet, sites: [{ id: 'north', networkBps: 100 }, { id: 'south' }] },
      'sites.0.networkBps is 100 bit/s: probably Mbit/s, not bit/s.',
    ],
    [
      'a bound in milliseconds',
      withClasses({ sloMean_s: 1500 }),
      'classes.0.sloMean_s is 1500 s, over 200 times every latency_s (and 1 more): probably milliseconds, not seconds.',
    ],
    [
      'a bound on energy in millijoules',
      withClasses({ maxEnergy_J: 4000 }),
      'classes.0.maxEnergy_J is 4000 J, over 200 times every energy_J (and 1 more): probably millijoules, not joules.',
    ],
    [
      'percentiles in milliseconds',
      withArcs(() => ({ p95_s: 12_000 })),
      'classes.0.sloP95_s is 10 s, less than 1/50 of every p95_s (and 1 more): probably minutes or hours, or the p95_s of its arcs in milliseconds, not seconds.',
    ],
  ])('suspects %s', (_, problem, sentence) => {
    expect(unitWarnings(problem)).toContain(sentence);
  });
});

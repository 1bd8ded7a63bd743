import { type ClassId, classId, type DeviceId, type PlanId, type VariantId } from '@fleetgate/shared/ids';
import {
  type Joules,
  joules,
  type Milliseconds,
  milliseconds,
  type Watts,
  watts,
} from '@fleetgate/shared/units/quantity';

import { weightedRate } from '../optimiser/placement.js';
import { UTILISATION_CAP } from './build-problem.js';
import { placementsOf, type PlanRecord } from './plan-record.js';

/** What dispatch needs of the plan in force. */
export interface PlanPolicy {
  readonly planId: PlanId;
  readonly placements: ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;
  /** Quality (0..1) that a joule above idle has to earn, by class; 0 when no energy budget of it binds. */
  readonly qualityPerJouleByClass: ReadonlyMap<ClassId, number>;
  /** The same for a request of no known class: the mean over the planned demand. */
  readonly qualityPerJoule: number;
  /** Quality that a second of latency has to earn, by class; 0 when the class's bound does not bind. */
  readonly qualityPerSecond: ReadonlyMap<ClassId, number>;
  readonly limits: ReadonlyMap<ClassId, { readonly latencyMean: Milliseconds; readonly energy: Joules | undefined }>;
  readonly control: PlanControl;
}

/** What keeping its budgets while requests come needs of the plan. */
export interface PlanControl {
  /** What the fleet's power budget leaves to requests, above what its devices idle at; undefined: no such budget. */
  readonly requestPower: Watts | undefined;
  /** Requests/s that it was made for, all classes together. */
  readonly plannedRate: number;
  readonly utilisationCap: number;
  /** Quality that a joule has to earn for the fleet's power budget, for a class of weight 1. */
  readonly powerPrice: number;
  readonly classes: ReadonlyMap<
    ClassId,
    {
      /** Relative to the mean weight of the planned demand. */
      readonly weight: number;
      readonly latencyMean: Milliseconds;
      readonly energyMean: Joules | undefined;
      readonly minServed: number;
      readonly energyPrice: number;
      readonly latencyPrice: number;
    }
  >;
}

/**
 * The plan's shadow prices in the currency of one request.
 *
 * One request/s of class k with quality q earns 1000 w_k q / W points and costs nu * e points for power; so a joule has
 * to earn nu * W / (1000 w_k) of quality. The latency and energy prices are per unit of a bound on a mean: divided by
 * the served rate they are per request. Each class pays the fleet's price of power and its own price of energy.
 */
export function planPolicy(record: PlanRecord): PlanPolicy {
  const { problem, solution } = record;
  const total = weightedRate(problem);
  const served = new Float64Array(problem.classes.length);
  for (const { k, rate } of solution.routing) served[k] = (served[k] ?? 0) + rate;
  const quality = (points: number, k: number) => {
    const weight = problem.classes[k]?.weight ?? 0;
    return weight === 0 ? 0 : (points * total) / (1000 * weight);
  };
  const perRequest = (price: number | undefined, k: number) => {
    const rate = served[k] ?? 0;
    return price === undefined || rate <= 0 ? 0 : quality(price / rate, k);
  };
  const rateSum = served.reduce((sum, rate) => sum + rate, 0);
  const perJoule = problem.classes.map(
    (_, k) => quality(solution.prices.power?.value ?? 0, k) + perRequest(solution.prices.energy[String(k)], k),
  );
  const perJouleSum = perJoule.reduce((sum, price, k) => sum + price * (served[k] ?? 0), 0);
  return {
    planId: record.id,
    placements: new Map([...placementsOf(record)].map(([device, variants]) => [device, new Set(variants)])),
    qualityPerJouleByClass: new Map(problem.classes.map((each, k) => [classId(each.id), perJoule[k] ?? 0])),
    qualityPerJoule: rateSum === 0 ? 0 : perJouleSum / rateSum,
    qualityPerSecond: new Map(
      problem.classes.map((each, k) => [classId(each.id), perRequest(solution.prices.latency[String(k)], k)]),
    ),
    limits: new Map(
      problem.classes.map((each) => [
        classId(each.id),
        {
          latencyMean: milliseconds(each.sloMean_s * 1000),
          energy: each.maxEnergy_J === null || each.maxEnergy_J === undefined ? undefined : joules(each.maxEnergy_J),
        },
      ]),
    ),
    control: planControl(record, perRequest),
  };
}

function planControl(
  { budgets, problem, solution }: PlanRecord,
  perRequest: (points: number | undefined, k: number) => number,
): PlanControl {
  const plannedRate = problem.classes.reduce((sum, { rate }) => sum + rate, 0);
  const meanWeight = plannedRate > 0 ? weightedRate(problem) / plannedRate : 1;
  const idleW = solution.poweredOn.reduce((sum, [d, count]) => sum + count * (problem.devices[d]?.idleW ?? 0), 0);
  const { powerW, baseW = 0 } = problem.budgets;
  return {
    requestPower: budgets.fleetPowerW === null ? undefined : watts(powerW - baseW - idleW),
    plannedRate,
    utilisationCap: UTILISATION_CAP,
    powerPrice: ((solution.prices.power?.value ?? 0) * plannedRate) / 1000,
    classes: new Map(
      problem.classes.map(({ id, weight, sloMean_s, maxEnergy_J, minServed }, k) => [
        classId(id),
        {
          weight: meanWeight > 0 ? weight / meanWeight : 1,
          latencyMean: milliseconds(sloMean_s * 1000),
          energyMean: maxEnergy_J === null || maxEnergy_J === undefined ? undefined : joules(maxEnergy_J),
          minServed,
          energyPrice: perRequest(solution.prices.energy[String(k)], k),
          latencyPrice: perRequest(solution.prices.latency[String(k)], k),
        },
      ]),
    ),
  };
}

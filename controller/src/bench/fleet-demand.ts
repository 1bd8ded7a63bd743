/** Classes of prompts of generated fleets, and what each variant is worth for them on each board. */
import type { Random } from '@fleetgate/shared/random';

import type { ProblemArc } from '../optimiser/problem.js';
import { FLEET_BOARDS, type FleetBoard, type FleetVariant, rounded, serviceTime } from './fleet-hardware.js';

export interface FleetClass {
  readonly id: string;
  /** requests/s */
  readonly rate: number;
  readonly weight: number;
  readonly sloMean_s: number;
  readonly inTokens: number;
  readonly outTokens: number;
  /** By variant; 0 where it is of no use. */
  readonly quality: readonly number[];
}

/** M/G/1 at 70 % load with c² = 0.5 (Pollaczek–Khinchine): service and 1.75 times as much waiting. */
const RESPONSE_FACTOR = 2.75;
/** Slower arcs than this, against the bound on the mean, are never worth having. */
const SLOWEST = 1.6;
const WORST_QUALITY = 0.35;
/** Share of classes that a variant was tuned for. */
const SPECIALISED = 0.18;
/** Of what the fleet could answer if each board ran what is best on it; half of the power carries about that. */
const LOAD = 0.55;

type Pool = { readonly board: FleetBoard; readonly count: number };

/** Classes whose demand together loads the fleet to about 80 % of what its power budget allows. */
export function fleetClasses(
  random: Random,
  count: number,
  variants: readonly FleetVariant[],
  pools: readonly Pool[],
  utilisationCap: number,
): readonly FleetClass[] {
  const classes = Array.from({ length: count }, (_, k) => randomClass(random, k, variants));
  const popularity = classes.reduce((total, { rate }) => total + rate, 0);
  const throughput = pools.reduce((total, { board, count }) => {
    const seconds = busySeconds(board, variants, classes);
    return seconds === 0 ? total : total + (count * utilisationCap) / seconds;
  }, 0);
  const scale = (LOAD * throughput) / popularity;
  return classes.map((each) => ({ ...each, rate: rounded(each.rate * scale) }));
}

/** `rate` is still a popularity. */
function randomClass(random: Random, k: number, variants: readonly FleetVariant[]): FleetClass {
  const between = (low: number, high: number) => low + (high - low) * random.uniform();
  const inTokens = Math.round(between(60, 900));
  const outTokens = Math.round(between(15, 110));
  const hardness = between(0.25, 0.95);
  const typical = { parameters: 3, weightsGiB: 1.6 };
  const nano = FLEET_BOARDS[2];
  const pace = nano === undefined ? 1 : serviceTime(nano, typical, inTokens, outTokens);
  return {
    id: `c${k}`,
    rate: between(0.3, 1.7),
    weight: Math.round(100 * between(0.5, 1.5)) / 100,
    sloMean_s: rounded(RESPONSE_FACTOR * pace * between(0.45, 1.15)),
    inTokens,
    outTokens,
    quality: variants.map(({ worth }) => {
      const tuned = random.uniform() < SPECIALISED ? between(0.1, 0.6) : 1;
      const wrong = hardness * (0.5 / worth) ** 0.6 * tuned;
      const quality = rounded(Math.min(0.99, 1 - wrong + between(-0.02, 0.02)));
      return quality < WORST_QUALITY ? 0 : quality;
    }),
  };
}

/** Mean service time of a board over the classes that it can serve, each on the best variant; 0 when there is none. */
function busySeconds(board: FleetBoard, variants: readonly FleetVariant[], classes: readonly FleetClass[]): number {
  let seconds = 0;
  let weight = 0;
  for (const each of classes) {
    let best = 0;
    let taken = 0;
    variants.forEach((variant, v) => {
      const service = serviceTime(board, variant, each.inTokens, each.outTokens);
      const quality = each.quality[v] ?? 0;
      if (variant.memGiB > board.memGiB || RESPONSE_FACTOR * service > each.sloMean_s || quality <= best) return;
      best = quality;
      taken = service;
    });
    if (best === 0) continue;
    seconds += each.rate * taken;
    weight += each.rate;
  }
  return weight === 0 ? 0 : seconds / weight;
}

interface Place {
  readonly board: FleetBoard;
  readonly rtt_s: number;
  readonly modes: boolean;
}

/** Arcs of one device entry: variants that fit, are good enough and not far too slow. */
export function fleetArcs(
  d: number,
  { board, rtt_s, modes }: Place,
  variants: readonly FleetVariant[],
  classes: readonly FleetClass[],
): readonly ProblemArc[] {
  const settings = [{ speed: 1, busy: 1 }, ...(modes ? board.lowModes : [])];
  const hasModes = settings.length > 1;
  return settings.flatMap(({ speed, busy }, m) =>
    variants.flatMap((variant, v) =>
      variant.memGiB > board.memGiB
        ? []
        : classes.flatMap((each, k): readonly ProblemArc[] => {
            const service = serviceTime(board, variant, each.inTokens, each.outTokens) / speed;
            const latency_s = rounded(rtt_s + RESPONSE_FACTOR * service);
            const quality = each.quality[v] ?? 0;
            if (quality === 0 || latency_s > SLOWEST * each.sloMean_s) return [];
            const energy_J = rounded(board.busyW * busy * service);
            return [{ d, v, k, ...(hasModes ? { m } : {}), quality, service_s: rounded(service), energy_J, latency_s }];
          }),
    ),
  );
}

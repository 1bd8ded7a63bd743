/**
 * Placement problems as hard as they come, of any size: specialised experts, a catalogue limit, about 80 % load, half of
 * the power that the fleet could draw. Same options, same problem.
 */
import { type Random, SeededRandom } from '@fleetgate/shared/random';

import type { PlacementProblem, ProblemArc, ProblemDevice } from '../optimiser/problem.js';
import { fleetArcs, fleetClasses, type FleetClass } from './fleet-demand.js';
import { FLEET_BOARDS, type FleetBoard, fleetVariants, rounded, SITE_RTT_S } from './fleet-hardware.js';

export interface FleetShape {
  /** 10 to 1,000,000. */
  readonly devices: number;
  /** At most 96. */
  readonly variants: number;
  readonly classes: number;
  /** Variants that may be in the catalogue. */
  readonly kappa: number;
  readonly seed: number;
  /** `like`: every device is an entry of its own, up to 10 % slower or hungrier than its board; else pools by count. */
  readonly jitter: 'none' | 'like';
  /** Jetsons have a low power mode beside the full one. */
  readonly modes: boolean;
  /** 0: three distances from the controller and no sites. Else each site has a power cap and an uplink. */
  readonly sites: number;
}

const UTILISATION_CAP = 0.7;
const POWER_SHARE = 0.5;
const SPREAD = 0.1;

interface Pool {
  readonly board: FleetBoard;
  readonly count: number;
  /** Index of the site, or of the distance where there are no sites. */
  readonly place: number;
}

/** O(arcs of the pools + devices). */
export function fleetProblem(shape: FleetShape): PlacementProblem {
  const random = (stream: number) => new SeededRandom(shape.seed * 8 + stream);
  const variants = fleetVariants(random(0), shape.variants);
  const pools = fleetPools(shape);
  const classes = fleetClasses(random(1), shape.classes, variants, pools, UTILISATION_CAP);
  const devices: ProblemDevice[] = [];
  const arcs: ProblemArc[] = [];
  const chance = random(2);
  for (const pool of pools) {
    const rtt_s = pool.board.rtt_s + (SITE_RTT_S[pool.place % SITE_RTT_S.length] ?? 0);
    const own = fleetArcs(devices.length, { board: pool.board, rtt_s, modes: shape.modes }, variants, classes);
    for (const arc of own) arcs.push(arc);
    for (const entry of deviceEntries(chance, shape, pool, { d: devices.length, isUseful: own.length > 0 })) {
      devices.push(entry);
    }
  }
  const powerW = rounded(POWER_SHARE * fullPowerW(pools));
  return {
    schema: 'fleet-opt/1',
    kind: 'fleet',
    name: nameOf(shape),
    classes: classes.map((each) => problemClass(each, shape)),
    variants: variants.map(({ id, memGiB }) => ({ id, memGiB })),
    devices,
    ...(shape.sites === 0 ? {} : { sites: siteEntries(shape.sites, powerW, classes) }),
    arcs,
    budgets: { powerW, maxVariants: shape.kappa, moveGiB: null },
    current: [],
    movePenaltyPerGiB: 0,
  };
}

const nameOf = ({ devices, variants, classes, kappa, seed, jitter, modes, sites }: FleetShape): string =>
  `${devices}x${variants}x${classes}+${kappa}${jitter === 'like' ? '-jitter' : ''}${modes ? '-modes' : ''}${
    sites === 0 ? '' : `-sites${sites}`
  }#${seed}`;

/** Devices by board and place, in proportion, none lost to rounding. */
function fleetPools({ devices, sites }: FleetShape): readonly Pool[] {
  const places = sites === 0 ? SITE_RTT_S.length : sites;
  let reached = 0;
  let dealt = 0;
  return FLEET_BOARDS.flatMap((board) =>
    Array.from({ length: places }, (_, place): Pool => {
      reached += (devices * board.share) / places;
      const count = Math.round(reached) - dealt;
      dealt += count;
      return { board, count, place };
    }),
  ).filter(({ count }) => count > 0);
}

const fullPowerW = (pools: readonly Pool[]): number =>
  pools.reduce((total, { board, count }) => total + count * (board.idleW + UTILISATION_CAP * board.busyW), 0);

/** One entry with a count; or one for each device, those after the first (entry `d`) like it, where it has arcs. */
function deviceEntries(
  random: Random,
  shape: FleetShape,
  { board, count, place }: Pool,
  first: { readonly d: number; readonly isUseful: boolean },
): readonly ProblemDevice[] {
  const entry: ProblemDevice = {
    id: `${board.name}-${place}`,
    memGiB: board.memGiB,
    slots: board.slots,
    maxUtil: UTILISATION_CAP,
    idleW: board.idleW,
    powerCapW: null,
    ...(shape.sites === 0 ? {} : { site: place }),
    ...(shape.modes && board.lowModes.length > 0 ? { modes: modeEntries(board) } : {}),
  };
  if (shape.jitter === 'none') return [{ ...entry, count }];
  const around = () => rounded(1 - SPREAD + 2 * SPREAD * random.uniform());
  return Array.from({ length: count }, (_, i) => {
    const own = { ...entry, id: `${entry.id}-${i}`, idleW: rounded(board.idleW * around()) };
    return i === 0 || !first.isUseful ? own : { ...own, like: { d: first.d, slowness: around(), hunger: around() } };
  });
}

function modeEntries({ idleW, lowModes }: FleetBoard) {
  return [{ id: 'full', idleW }, ...lowModes.map(({ name, idle }) => ({ id: name, idleW: rounded(idle * idleW) }))];
}

function problemClass({ id, rate, weight, sloMean_s, outTokens }: FleetClass, { sites }: FleetShape) {
  const base = { id, rate, weight, sloMean_s, minServed: 0.9, minReplicas: 2 };
  // Four bytes a token, and as much again for framing.
  return sites === 0 ? base : { ...base, minSites: Math.min(2, sites), requestBits: 64 * outTokens };
}

/** Caps a little above a fair share, uplinks of 1.5 times one: they bind where a site is better than others. */
function siteEntries(sites: number, powerW: number, classes: readonly FleetClass[]) {
  const bps = classes.reduce((total, { rate, outTokens }) => total + 64 * rate * outTokens, 0);
  return Array.from({ length: sites }, (_, s) => ({
    id: `site-${s}`,
    powerW: rounded((1.1 * powerW) / sites),
    networkBps: Math.ceil((1.5 * bps) / sites),
  }));
}

/**
 * Smallest repairs of an infeasible problem: for each group alone, how far its bounds have to move (elastic program with
 * one slack per bound, in the bound's own unit); and together, when no group alone is enough.
 */
import { buildExactModel, type ExactModel } from './exact-model.js';
import type { Slack } from './exact-parts.js';
import type { LinearProgram } from './linear-program.js';
import type { ConstraintGroup, Relaxation } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';

/** One bound that moves. */
export interface BoundChange {
  readonly group: ConstraintGroup;
  readonly index: number | undefined;
  readonly from: number;
  readonly to: number;
}

export interface Repair {
  readonly changes: readonly BoundChange[];
}

const UNITS: Readonly<Record<ConstraintGroup, string>> = {
  demand: 'served share',
  util: 'busy share',
  slots: 'slots',
  memory: 'GiB',
  latency: 's',
  tail: 's',
  energy: 'J',
  power: 'W',
  sitepower: 'W',
  devpower: 'W',
  battery: 'J',
  network: 'bit/s',
  replicas: 'replicas',
  variants: 'variants',
  move: 'GiB',
};

const FLOORS: ReadonlySet<ConstraintGroup> = new Set(['demand', 'replicas']);
const WHOLE: ReadonlySet<ConstraintGroup> = new Set(['slots', 'replicas', 'variants']);

/** Repairs of a mean divide the slack by the served share; a few rounds find the least (Dinkelbach 1967). */
const RATIO_ROUNDS = 6;

/** The least moves of the bounds of `groups` that make the problem feasible; undefined when there are none or time ran out. */
export async function findRepair(
  problem: PlacementProblem,
  groups: ReadonlySet<ConstraintGroup>,
  solver: LinearSolver,
  limits: SolverLimits,
): Promise<Repair | undefined> {
  const model = buildExactModel(problem, { elastic: groups });
  let best = await solveRepair(problem, model, weighted(problem, model, groups), solver, limits);
  if (best === undefined || !best.slacks.some(({ group }) => group === 'latency' || group === 'energy')) return best;
  for (let round = 0; round < RATIO_ROUNDS; round++) {
    const program = ratioProgram(problem, model, best.ratios, groups);
    const next = await solveRepair(problem, model, program, solver, limits);
    if (next === undefined || total(next) >= total(best) * (1 - 1e-6)) break;
    best = next;
  }
  return best;
}

interface Solved extends Repair {
  readonly slacks: readonly Slack[];
  /** Slack per served share of each elastic mean, by `group,class`. */
  readonly ratios: ReadonlyMap<string, number>;
}

const total = (repair: Repair): number =>
  repair.changes.reduce((sum, change) => sum + Math.abs(change.to - change.from), 0);

async function solveRepair(
  problem: PlacementProblem,
  model: ExactModel,
  program: LinearProgram,
  solver: LinearSolver,
  limits: SolverLimits,
): Promise<Solved | undefined> {
  const answer = await solver.solve(program, limits);
  if (answer.status !== 'optimal' && answer.status !== 'feasible') return undefined;
  const ratios = new Map<string, number>();
  const slacks: Slack[] = [];
  const changes: BoundChange[] = [];
  const served = servedShares(problem, model, answer.point);
  for (const slack of model.slacks) {
    const isMean = slack.group === 'latency' || slack.group === 'energy';
    const moved = answer.point[slack.column] ?? 0;
    const size = isMean ? moved / Math.max(1e-9, served[slack.index ?? -1] ?? 0) : moved;
    if (isMean) ratios.set(`${slack.group},${slack.index}`, size);
    const from = boundOf(problem, slack.group, slack.index);
    // Below a millionth of the bound it is rounding, not a repair.
    if (size <= 1e-6 * Math.max(1e-3, from)) continue;
    slacks.push(slack);
    changes.push({ group: slack.group, index: slack.index, from, to: widened(slack.group, from, size) });
  }
  return { changes, slacks, ratios };
}

function servedShares(problem: PlacementProblem, model: ExactModel, point: Float64Array): Float64Array {
  const served = new Float64Array(problem.classes.length);
  model.arcs.forEach(({ k }, i) => (served[k] = (served[k] ?? 0) + (point[model.shares[i] ?? -1] ?? 0)));
  return served;
}

/** Slacks of different units are weighed by their bound, so that 1 % of each counts the same. */
function weighted(problem: PlacementProblem, model: ExactModel, groups: ReadonlySet<ConstraintGroup>): LinearProgram {
  if (groups.size < 2) return model.program;
  const cost = Float64Array.from(model.program.cost);
  for (const { group, index, column } of model.slacks) {
    cost[column] = 1 / Math.max(1e-3, boundOf(problem, group, index));
  }
  return { ...model.program, cost };
}

/** Dinkelbach's step: minimise slack - ratio * served share; at the least ratio its optimum is 0. */
function ratioProgram(
  problem: PlacementProblem,
  model: ExactModel,
  ratios: ReadonlyMap<string, number>,
  groups: ReadonlySet<ConstraintGroup>,
): LinearProgram {
  const cost = Float64Array.from(weighted(problem, model, groups).cost);
  for (const { group, index, column } of model.slacks) {
    const ratio = ratios.get(`${group},${index}`) ?? 0;
    if (ratio === 0) continue;
    model.arcs.forEach(({ k }, i) => {
      const share = model.shares[i] ?? -1;
      if (k === index && share >= 0) cost[share] = (cost[share] ?? 0) - ratio * (cost[column] ?? 0);
    });
  }
  return { ...model.program, cost };
}

/** A little more than the slack, in a figure that a person can type: four digits, rounded to the safe side. */
function widened(group: ConstraintGroup, from: number, size: number): number {
  const exact = FLOORS.has(group) ? Math.max(0, from - size) : from + size;
  if (WHOLE.has(group)) return Math.round(exact);
  const step = 10 ** (Math.floor(Math.log10(Math.max(1e-9, Math.abs(exact)))) - 3);
  const rounded = FLOORS.has(group) ? Math.floor(exact / step - 1e-6) * step : Math.ceil(exact / step + 1e-6) * step;
  return Number(Math.max(0, rounded).toPrecision(6));
}

function boundOf(problem: PlacementProblem, group: ConstraintGroup, index = -1): number {
  const [ofClass, device, site] = [problem.classes[index], problem.devices[index], problem.sites?.[index]];
  const count = device?.count ?? 1;
  const bounds: Readonly<Record<ConstraintGroup, number | null | undefined>> = {
    demand: ofClass?.minServed,
    util: device?.maxUtil,
    slots: (device?.slots ?? 0) * count,
    memory: (device?.memGiB ?? 0) * count,
    latency: ofClass?.sloMean_s,
    tail: ofClass?.sloP95_s,
    energy: ofClass?.maxEnergy_J,
    power: problem.budgets.powerW,
    sitepower: site?.powerW,
    devpower: (device?.powerCapW ?? 0) * count,
    battery: (device?.battery_J ?? 0) * count,
    network: site?.networkBps,
    replicas: ofClass?.minReplicas,
    variants: problem.budgets.maxVariants,
    move: problem.budgets.moveGiB,
  };
  return bounds[group] ?? 0;
}

/** The problem with the bounds of a repair moved: it is feasible. */
export function applyRepair(problem: PlacementProblem, repair: Repair): PlacementProblem {
  const to = (group: ConstraintGroup, index?: number) =>
    repair.changes.find((change) => change.group === group && change.index === index)?.to;
  return {
    ...problem,
    classes: problem.classes.map((each, k) => ({
      ...each,
      minServed: to('demand', k) ?? each.minServed,
      sloMean_s: to('latency', k) ?? each.sloMean_s,
      maxEnergy_J: to('energy', k) ?? each.maxEnergy_J,
      minReplicas: to('replicas', k) ?? each.minReplicas,
    })),
    devices: problem.devices.map((device, d) => {
      const count = device.count ?? 1;
      const perDevice = (group: ConstraintGroup) => {
        const bound = to(group, d);
        return bound === undefined ? undefined : bound / count;
      };
      return {
        ...device,
        memGiB: perDevice('memory') ?? device.memGiB,
        slots: Math.ceil(perDevice('slots') ?? device.slots),
        powerCapW: perDevice('devpower') ?? device.powerCapW,
      };
    }),
    budgets: {
      powerW: to('power') ?? problem.budgets.powerW,
      maxVariants: to('variants') ?? problem.budgets.maxVariants,
      moveGiB: to('move') ?? problem.budgets.moveGiB,
    },
  };
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** `power budget 12 W -> 14.3 W` */
export function changeText(problem: PlacementProblem, change: BoundChange): string {
  const index = change.index ?? -1;
  const ofClass = problem.classes[index]?.id ?? '';
  const device = problem.devices[index]?.id ?? '';
  const site = problem.sites?.[index]?.id ?? '';
  const names: Readonly<Record<ConstraintGroup, string>> = {
    demand: `served share of ${ofClass}`,
    util: `busy share of ${device}`,
    slots: `slots of ${device}`,
    memory: `memory of ${device}`,
    latency: `mean latency of ${ofClass}`,
    tail: `95th percentile of the latency of ${ofClass}`,
    energy: `energy per request of ${ofClass}`,
    power: 'power budget',
    sitepower: `power of ${site}`,
    devpower: `power cap of ${device}`,
    battery: `battery of ${device}`,
    network: `uplink of ${site}`,
    replicas: `replicas of ${ofClass}`,
    variants: 'catalogue size',
    move: 'move budget',
  };
  const unit = change.group === 'demand' || WHOLE.has(change.group) ? '' : ` ${UNITS[change.group]}`;
  return `${names[change.group]} ${shown(change.from)}${unit} -> ${shown(change.to)}${unit}`;
}

/** A repair of one group as the plan carries it. */
export function relaxationOf(problem: PlacementProblem, group: ConstraintGroup, repair: Repair): Relaxation {
  return {
    group,
    slack: Number(total(repair).toPrecision(6)),
    unit: UNITS[group],
    text: repair.changes.map((change) => changeText(problem, change)).join(', '),
  };
}

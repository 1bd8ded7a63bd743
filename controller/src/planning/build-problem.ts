/**
 * Fleet, catalogue, gate, costs, demand and budgets -> the optimiser's language (`fleet-opt/1`). Pure.
 *
 * Ids of the problem are our own: `devices[d].id` is a device id, `variants[v].id` a variant id, `classes[k].id` a class
 * id. Order is by id, so the same facts make the same problem.
 */
import type { Budgets } from '@fleetgate/shared/api/operations';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { ClassId, DeviceId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import { variantQuality } from '../catalogue/variant-quality.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';
import type { Gate } from '../gating/gate.js';
import type { PlacementProblem, ProblemArc } from '../optimiser/problem.js';
import type { CostEstimator, Workload } from '../telemetry/cost.js';
import type { WorkloadEstimator } from '../telemetry/workload-model.js';
import { classBudget } from './budgets.js';
import { dominatedVariants } from './dominated-variants.js';
import { isPlaceable } from './readiness.js';

/** Share of time that a device may be busy; the rest keeps queues short (docs/formulation.md). */
export const UTILISATION_CAP = 0.7;
/** Squared coefficient of variation of service times. */
const SERVICE_CV2 = 0.5;
/** Mean wait over mean service time of an M/G/1 queue at the cap (Pollaczek-Khinchine): rho / (1 - rho) * (1 + c2) / 2. */
export const WAIT_FACTOR = (UTILISATION_CAP / (1 - UTILISATION_CAP)) * ((1 + SERVICE_CV2) / 2);
/** Controller to agent and back over a local network, both ways, s. */
const TRANSPORT_S = 0.05;
/** Answers are planned for at most this long: a gate that expects more extrapolates. */
const MOST_OUTPUT_TOKENS = 1024;
const GIB = 2 ** 30;

export interface ProblemFacts {
  readonly fleet: FleetSnapshot;
  readonly catalogue: Catalogue;
  readonly gate: Gate;
  readonly costs: CostEstimator;
  readonly workloads: WorkloadEstimator;
  /** Requests/s by class; what is missing has no demand. */
  readonly demand: ReadonlyMap<ClassId, number>;
  readonly budgets: Budgets;
  /** What each device is to host now, by the active plan. */
  readonly placed: ReadonlyMap<DeviceId, readonly VariantId[]>;
}

/** The placement problem of the devices that can host something now. May have no device, variant or arc. */
export function buildProblem(facts: ProblemFacts): PlacementProblem {
  const devices = [...facts.fleet.values()].filter(isPlaceable).sort((a, b) => (a.id < b.id ? -1 : 1));
  const variants = [...facts.catalogue.variants.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const classes = [...facts.gate.classes].sort();
  const placed = new Set([...facts.placed.values()].flat());
  const all = buildArcs(facts, devices, variants, classes);
  const offered = variants.map((variant) => ({
    expertId: variant.expertId,
    memoryBytes: variant.facts.memoryBytes,
    isPlaced: placed.has(variant.id),
  }));
  const dominated = dominatedVariants(offered, all);
  const arcs = all.filter((arc) => !dominated.has(arc.v));
  const variantIndex = new Map(variants.map((variant, v) => [variant.id, v]));
  const problem: PlacementProblem = {
    schema: 'fleet-opt/1',
    kind: 'fleet',
    name: 'fleet',
    classes: classes.map((id) => {
      const budget = classBudget(facts.budgets, id);
      return {
        id,
        rate: facts.demand.get(id) ?? 0,
        weight: budget.weight,
        sloMean_s: budget.latencyMeanMs / 1000,
        minServed: budget.minServed,
        minReplicas: budget.minReplicas,
        maxEnergy_J: budget.energyJ,
      };
    }),
    variants: variants.map((variant) => ({ id: variant.id, memGiB: variant.facts.memoryBytes / GIB })),
    devices: devices.map((device) => ({
      id: device.id,
      memGiB: (device.reported?.memory.budgetBytes ?? 0) / GIB,
      slots: device.reported?.slots ?? 0,
      maxUtil: UTILISATION_CAP,
      idleW: switchOnW(device),
      powerCapW: null,
    })),
    arcs,
    budgets: {
      powerW: facts.budgets.fleetPowerW ?? 0,
      baseW: devices.reduce((total, device) => total + standbyW(device), 0),
      maxVariants: facts.budgets.maxVariants,
      moveGiB: facts.budgets.moveBytes === null ? null : facts.budgets.moveBytes / GIB,
    },
    current: devices.flatMap((device, d) =>
      (facts.placed.get(device.id) ?? []).flatMap((id): [number, number][] => {
        const v = variantIndex.get(id);
        return v === undefined ? [] : [[d, v]];
      }),
    ),
    movePenaltyPerGiB: 0,
  };
  return facts.budgets.fleetPowerW === null ? withoutPowerBound(problem) : problem;
}

/** What a device draws in standby counts against the fleet's budget whatever the plan does... */
const standbyW = (device: Device): number =>
  Math.min(device.reported?.power.standbyW ?? 0, device.reported?.power.idleW ?? 0);
/** ...and being on costs what idling draws beyond that. */
const switchOnW = (device: Device): number => (device.reported?.power.idleW ?? 0) - standbyW(device);

/** No bound: as a figure that no plan can reach. */
function withoutPowerBound(problem: PlacementProblem): PlacementProblem {
  const idle = problem.devices.reduce((total, device) => total + device.idleW, problem.budgets.baseW ?? 0);
  const rate = problem.classes.reduce((total, each) => total + each.rate, 0);
  const worst = problem.arcs.reduce((most, arc) => Math.max(most, arc.energy_J), 0);
  return { ...problem, budgets: { ...problem.budgets, powerW: Math.ceil(2 * (idle + rate * worst)) + 1000 } };
}

function buildArcs(
  facts: ProblemFacts,
  devices: readonly Device[],
  variants: readonly Variant[],
  classes: readonly ClassId[],
): ProblemArc[] {
  const arcs: ProblemArc[] = [];
  variants.forEach((variant, v) => {
    classes.forEach((classId, k) => {
      const score = facts.gate.classQuality(classId, variant.expertId);
      if (score === undefined) return;
      const quality = variantQuality(score.quality, variant, classId);
      const workload = classWorkload(facts.workloads, classId, score.outputTokens);
      devices.forEach((device, d) => {
        if (!canHost(device, variant)) return;
        const cost = facts.costs.estimate(device.id, variant.id, workload);
        if (cost === undefined || !(cost.latency > 0)) return;
        const service = cost.latency / 1000;
        arcs.push({
          d,
          v,
          k,
          quality,
          service_s: service,
          energy_J: Math.max(0, cost.energy),
          latency_s: service * (1 + WAIT_FACTOR) + TRANSPORT_S,
        });
      });
    });
  });
  return arcs;
}

/** A typical request of a class: `outputTokens` as the gate expects, corrected by what answers turned out to be. */
function classWorkload(workloads: WorkloadEstimator, classId: ClassId, outputTokens: number): Workload {
  return {
    promptTokens: workloads.promptTokens(classId),
    outputTokens: Math.min(MOST_OUTPUT_TOKENS, Math.max(1, outputTokens * workloads.classFactor(classId))),
  };
}

/** A variant that failed on a device is not placed there again until its file changes. */
function canHost(device: Device, variant: Variant): boolean {
  const reported = device.reported;
  if (reported === undefined || variant.facts.memoryBytes > reported.memory.budgetBytes) return false;
  return !reported.variants.some(({ variantId, residency }) => variantId === variant.id && residency === 'failed');
}

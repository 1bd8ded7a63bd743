import { z } from 'zod';

/**
 * A placement problem, schema `fleet-opt/1`: the language of the optimiser, free of fleet, Nest and our ids.
 *
 * Indices are 0-based. Units: seconds, watts, joules, GiB, requests per second. `docs/formulation.md` gives the model.
 */
const count = z.number().int().nonnegative();
const atLeastZero = z.number().nonnegative();

export const problemClassSchema = z.object({
  id: z.string(),
  /** Demand, requests/s. */
  rate: atLeastZero,
  weight: atLeastZero,
  /** Bound on the mean latency of served requests, s. */
  sloMean_s: z.number().positive(),
  /** Share of the demand that has to be served. */
  minServed: z.number().min(0).max(1),
  minReplicas: count,
  /** Bound on the mean energy of a served request above idle, J; absent or null: none. */
  maxEnergy_J: z.number().positive().nullish(),
});

export const problemVariantSchema = z.object({ id: z.string(), memGiB: atLeastZero });

export const problemDeviceSchema = z.object({
  id: z.string(),
  memGiB: atLeastZero,
  slots: count,
  /** Share of time a device may be busy, 0..1. */
  maxUtil: z.number().min(0).max(1),
  idleW: atLeastZero,
  powerCapW: z.number().nonnegative().nullable(),
  /** Identical devices that this entry stands for. */
  count: z.number().int().positive().optional(),
});

/** An eligible (device, variant, class): absent means not allowed. */
export const problemArcSchema = z.object({
  d: count,
  v: count,
  k: count,
  quality: z.number(),
  service_s: z.number().positive(),
  /** Above idle. */
  energy_J: atLeastZero,
  /** Service, waiting at the utilisation cap, and network. */
  latency_s: atLeastZero,
});

export const placementProblemSchema = z.object({
  schema: z.literal('fleet-opt/1'),
  kind: z.literal('fleet'),
  name: z.string(),
  classes: z.array(problemClassSchema),
  variants: z.array(problemVariantSchema),
  devices: z.array(problemDeviceSchema),
  arcs: z.array(problemArcSchema),
  budgets: z.object({
    powerW: z.number().nonnegative(),
    /** Part of `powerW` that is drawn whatever the plan does (devices in standby), W; absent: 0. */
    baseW: atLeastZero.optional(),
    maxVariants: count.nullable(),
    moveGiB: atLeastZero.nullable(),
  }),
  /** (device, variant) pairs hosted now. */
  current: z.array(z.tuple([count, count])),
  movePenaltyPerGiB: atLeastZero,
});
export type PlacementProblem = z.infer<typeof placementProblemSchema>;
export type ProblemArc = z.infer<typeof problemArcSchema>;

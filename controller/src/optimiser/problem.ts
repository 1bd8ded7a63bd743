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
  /** Bound on the 95th percentile of latency, s: an arc whose `p95_s` is above it may not be used. Absent or null: none. */
  sloP95_s: z.number().positive().nullish(),
  /** Distinct sites (failure domains) that have to host a fitting variant; absent: 0. */
  minSites: count.optional(),
  /** Traffic of one request between its device's site and the controller, bit; absent: 0. */
  requestBits: atLeastZero.optional(),
});

export const problemVariantSchema = z.object({ id: z.string(), memGiB: atLeastZero });

/** A failure domain: what loses power or its uplink together. */
export const problemSiteSchema = z.object({
  id: z.string(),
  /** Cap on the mean power of the site's devices, W. */
  powerW: atLeastZero.nullish(),
  /** Capacity of the uplink, bit/s. */
  networkBps: atLeastZero.nullish(),
});

/** A setting of clocks and cores (nvpmodel, a governor): at most one is in force on a device. */
export const problemModeSchema = z.object({
  id: z.string(),
  idleW: atLeastZero,
  powerCapW: atLeastZero.nullish(),
});

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
  /** Index into `sites`; absent: a site of its own without bounds. */
  site: count.optional(),
  /** Energy that may be drawn from the battery within `budgets.horizon_s`, J per device; absent or null: mains. */
  battery_J: atLeastZero.nullish(),
  /** Power modes; where given, their `idleW` and `powerCapW` replace the device's, and every arc names its mode. */
  modes: z.array(problemModeSchema).min(1).optional(),
  /**
   * Arcs are those of device `d` (an earlier entry with arcs of its own), service and latency times `slowness`, energy
   * times `hunger`: a fleet of one board whose units measured a little differently, without repeating its arcs.
   */
  like: z.object({ d: count, slowness: z.number().positive(), hunger: z.number().positive() }).optional(),
});

/** An eligible (device, variant, class): absent means not allowed. */
export const problemArcSchema = z.object({
  d: count,
  v: count,
  k: count,
  /** Power mode of the device, index into its `modes`; absent: 0. */
  m: count.optional(),
  quality: z.number(),
  service_s: z.number().positive(),
  /** Above idle. */
  energy_J: atLeastZero,
  /** Service, waiting at the utilisation cap, and network. */
  latency_s: atLeastZero,
  /** 95th percentile of the same; absent: unknown, and no tail bound applies. */
  p95_s: atLeastZero.optional(),
});

export const placementProblemSchema = z.object({
  schema: z.literal('fleet-opt/1'),
  kind: z.literal('fleet'),
  name: z.string(),
  classes: z.array(problemClassSchema),
  variants: z.array(problemVariantSchema),
  devices: z.array(problemDeviceSchema),
  sites: z.array(problemSiteSchema).optional(),
  arcs: z.array(problemArcSchema),
  budgets: z.object({
    powerW: z.number().nonnegative(),
    /** Part of `powerW` that is drawn whatever the plan does (devices in standby), W; absent: 0. */
    baseW: atLeastZero.optional(),
    maxVariants: count.nullable(),
    moveGiB: atLeastZero.nullable(),
    /** Time that a battery has to last, s; needed where a device has `battery_J`. */
    horizon_s: z.number().positive().optional(),
  }),
  /** (device, variant) pairs hosted now. */
  current: z.array(z.tuple([count, count])),
  movePenaltyPerGiB: atLeastZero,
});
export type PlacementProblem = z.infer<typeof placementProblemSchema>;
export type ProblemDevice = z.infer<typeof problemDeviceSchema>;
export type ProblemArc = z.infer<typeof problemArcSchema>;

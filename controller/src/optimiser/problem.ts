import { z } from 'zod';

/**
 * A placement problem, schema `fleet-opt/1`: the language of the optimiser, free of fleet, Nest and our ids.
 *
 * Indices are 0-based. Units: seconds, watts, joules, GiB, requests per second. `docs/formulation.md` gives the model.
 */
/** Of any figure: products and sums of two of them stay far from overflow. A bound of so much is none. */
export const LARGEST_FIGURE = 1e12;
/** Of figures above 0, likewise for quotients. */
export const SMALLEST_FIGURE = 1e-12;
/** A share, or thousandths of it; far beyond that no solver tells plans apart to a millionth. */
export const LARGEST_QUALITY = 1000;
/** Devices of one entry. */
const LARGEST_COUNT = 1e9;

const index = z.number().int().nonnegative();
const count = z.number().int().nonnegative().max(LARGEST_COUNT);
const atLeastZero = z.number().nonnegative().max(LARGEST_FIGURE);
const positive = z.number().min(SMALLEST_FIGURE).max(LARGEST_FIGURE);
const zeroOrPositive = atLeastZero.refine((value) => value === 0 || value >= SMALLEST_FIGURE, {
  error: ({ input }) => `expected 0 or a number from ${SMALLEST_FIGURE}, got ${String(input)}`,
});
/** Of one unit of a board to another. */
const factor = z.number().min(1e-6).max(1e6);

export const problemClassSchema = z.object({
  id: z.string(),
  /** Demand, requests/s. */
  rate: zeroOrPositive,
  weight: zeroOrPositive,
  /** Bound on the mean latency of served requests, s. */
  sloMean_s: positive,
  /** Share of the demand that has to be served. */
  minServed: z.number().min(0).max(1),
  minReplicas: count,
  /** Bound on the mean energy of a served request above idle, J; absent or null: none. */
  maxEnergy_J: positive.nullish(),
  /** Bound on the 95th percentile of latency, s: an arc whose `p95_s` is above it may not be used. Absent or null: none. */
  sloP95_s: positive.nullish(),
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
  powerCapW: atLeastZero.nullable(),
  /** Identical devices that this entry stands for. */
  count: z.number().int().positive().max(LARGEST_COUNT).optional(),
  /** Index into `sites`; absent: a site of its own without bounds. */
  site: index.optional(),
  /** Energy that may be drawn from the battery within `budgets.horizon_s`, J per device; absent or null: mains. */
  battery_J: atLeastZero.nullish(),
  /** Power modes; where given, their `idleW` and `powerCapW` replace the device's, and every arc names its mode. */
  modes: z.array(problemModeSchema).min(1).optional(),
  /**
   * Arcs are those of device `d` (an earlier entry with arcs of its own), service and latency times `slowness`, energy
   * times `hunger`: a fleet of one board whose units measured a little differently, without repeating its arcs.
   */
  like: z.object({ d: index, slowness: factor, hunger: factor }).optional(),
});

/** An eligible (device, variant, class): absent means not allowed. */
export const problemArcSchema = z.object({
  d: index,
  v: index,
  k: index,
  /** Power mode of the device, index into its `modes`; absent: 0. */
  m: index.optional(),
  quality: z.number().min(-LARGEST_QUALITY).max(LARGEST_QUALITY),
  service_s: positive,
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
    powerW: atLeastZero,
    /** Part of `powerW` that is drawn whatever the plan does (devices in standby), W; absent: 0. */
    baseW: atLeastZero.optional(),
    maxVariants: count.nullable(),
    moveGiB: atLeastZero.nullable(),
    /** Time that a battery has to last, s; needed where a device has `battery_J`. */
    horizon_s: positive.optional(),
  }),
  /** (device, variant) pairs hosted now. */
  current: z.array(z.tuple([index, index])),
  movePenaltyPerGiB: atLeastZero,
});
export type PlacementProblem = z.infer<typeof placementProblemSchema>;
export type ProblemDevice = z.infer<typeof problemDeviceSchema>;
export type ProblemArc = z.infer<typeof problemArcSchema>;

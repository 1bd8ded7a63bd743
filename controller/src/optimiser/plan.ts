import type { Certificate } from './certificate.js';
/**
 * Groups of constraints that a user understands. `util` (capacity, links between copies, power modes) is physics and
 * never relaxed. `replicas` covers distinct devices and distinct sites, `tail` the bound on the 95th percentile.
 */
export const CONSTRAINT_GROUPS = [
  'demand',
  'util',
  'slots',
  'memory',
  'latency',
  'tail',
  'energy',
  'power',
  'sitepower',
  'devpower',
  'battery',
  'network',
  'replicas',
  'variants',
  'move',
] as const;
export type ConstraintGroup = (typeof CONSTRAINT_GROUPS)[number];

export interface Relaxation {
  readonly group: ConstraintGroup;
  /** Smallest total change of this group's bounds, alone, that makes the problem feasible. */
  readonly slack: number;
  readonly unit: string;
  /** The same in words: `power budget 12 W -> 14.3 W`. */
  readonly text: string;
}

/** One bound that a repair moves. */
export interface RepairChange {
  readonly group: ConstraintGroup;
  /** Index of the class, device or site; null for bounds of the fleet. */
  readonly index: number | null;
  /** Power mode, for the cap of a device that has modes. */
  readonly m?: number;
  /** `replicas` counts sites here, not devices. */
  readonly ofSites?: true;
  readonly from: number;
  readonly to: number;
  readonly unit: string;
  readonly text: string;
}

/** Moves of bounds of several groups that together make the problem feasible. */
export interface JointRepair {
  readonly changes: readonly RepairChange[];
}

/** Requests/s of class `k` that variant `v` answers on device `d`, in power mode `m` where the device has modes. */
export interface RoutedRate {
  readonly k: number;
  readonly d: number;
  readonly v: number;
  readonly m?: number;
  readonly rate: number;
}

/** A solved placement, schema `fleet-plan/1`. */
export interface PlacementPlan {
  readonly schema: 'fleet-plan/1';
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'timeout';
  /** 0..1000; null when there is no placement. */
  readonly objective: number | null;
  /** Proven upper bound on the objective of any placement. */
  readonly bound: number | null;
  /** (bound - objective) / max(1, |objective|). */
  readonly gap: number | null;
  readonly seconds: number;
  readonly method: string;
  /** (device, variant, copies). */
  readonly placement: readonly (readonly [number, number, number])[];
  /** (device, copies switched on). */
  readonly poweredOn: readonly (readonly [number, number])[];
  /** (device, mode, devices in that mode), for devices that have power modes; absent where none has. */
  readonly modes?: readonly (readonly [number, number, number])[];
  readonly routing: readonly RoutedRate[];
  /** Objective points per unit of a bound, at the solution: duals of the routing LP with the placement fixed. */
  readonly prices: {
    readonly power: { readonly value: number; readonly unit: 'points/W' } | null;
    /** By class index. */
    readonly latency: Readonly<Record<string, number>>;
    readonly energy: Readonly<Record<string, number>>;
    /** By device index. */
    readonly util: Readonly<Record<string, number>>;
  };
  /** An irreducible set of groups that cannot hold together; null when feasible. */
  readonly conflict: readonly ConstraintGroup[] | null;
  readonly relaxations: readonly Relaxation[] | null;
  /** Of an infeasible problem: joint repairs of which none, nor any of `relaxations`, moves less than another throughout. */
  readonly repairs?: readonly JointRepair[];
  readonly explanation: readonly string[];
  /** Proof of `bound`; without it a plan is never called optimal. */
  readonly certificate?: Certificate;
}

/** One bound and what a plan uses of it. */
export interface ConstraintUse {
  readonly group: ConstraintGroup;
  /** Class, device or variant id; empty for fleet-wide bounds. */
  readonly subject: string;
  readonly used: number;
  readonly limit: number;
  readonly unit: string;
}

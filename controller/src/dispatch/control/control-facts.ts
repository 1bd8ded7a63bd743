import type { ClassId } from '@fleetgate/shared/ids';
import type { Joules, Milliseconds, Watts } from '@fleetgate/shared/units/quantity';

/** What keeping budgets while requests come needs of the plan in force; planning makes it. */
export interface ControlFacts {
  /** What the fleet's power budget leaves to requests, above what its devices idle at; undefined: no such budget. */
  readonly requestPower: Watts | undefined;
  /** Requests/s that the plan was made for, all classes together. */
  readonly plannedRate: number;
  /** Share of time that a device may be busy, 0..1. */
  readonly utilisationCap: number;
  /** Quality that a joule has to earn for the fleet's power budget by the plan's dual, for a class of weight 1. */
  readonly powerPrice: number;
  readonly classes: ReadonlyMap<ClassId, ControlledClass>;
}

export interface ControlledClass {
  /** Relative to the mean weight of the planned demand. */
  readonly weight: number;
  readonly latencyMean: Milliseconds;
  readonly energyMean: Joules | undefined;
  /** Share of the demand that has to be served, 0..1. */
  readonly minServed: number;
  /** Duals of the class's own bounds: quality that a joule, and a second of latency, has to earn. */
  readonly energyPrice: number;
  readonly latencyPrice: number;
}

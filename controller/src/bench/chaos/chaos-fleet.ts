import type { ChaosFault, FaultKind } from './faults.js';

/** A fleet of real processes that faults can befall, on this machine. */
export interface ChaosFleet {
  readonly devices: readonly string[];
  /** Devices whose network can be cut. */
  readonly cuttable: readonly string[];
  /** Kinds that cannot befall it here, and why. */
  readonly impossible: ReadonlyMap<FaultKind, string>;
  begin(fault: ChaosFault): Promise<void>;
  /** What was killed comes back by itself. */
  end(fault: ChaosFault): Promise<void>;
}

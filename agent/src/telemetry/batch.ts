import type { Metric, Telemetry } from '@fleetgate/shared/protocol/telemetry';
import type { PowerSource } from '@fleetgate/shared/protocol/twin';

/** Values of one instant; a metric without a sensor is left out. */
export type Sample = Readonly<Partial<Record<Metric, number>>>;

/** A batch before it is sent: sending gives it epoch, number and instant. */
export type Batch = Omit<Telemetry, 'v' | 'epoch' | 'seq' | 'sentAtMs'>;

/** Significant digits kept: sensors are no better, and a message is a third smaller. */
const DIGITS = 6;

/** Samples taken every `dtMs` from `t0Ms` on, in columns; a metric that no sample has gets no column. */
export function toBatch(
  samples: readonly Sample[],
  { t0Ms, dtMs, powerSource }: { readonly t0Ms: number; readonly dtMs: number; readonly powerSource: PowerSource },
): Batch {
  const metrics = new Set(samples.flatMap((sample) => Object.keys(sample) as Metric[]));
  const columns: Partial<Record<Metric, (number | null)[]>> = {};
  for (const metric of metrics) {
    columns[metric] = samples.map((sample) => {
      const value = sample[metric];
      return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(DIGITS));
    });
  }
  return { t0Ms, dtMs, n: samples.length, powerSource, columns };
}

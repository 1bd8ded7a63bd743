import type { RolloutMetricView, RolloutView } from '@fleetgate/shared/api/rollouts';

import { type HealthVerdict, healthVerdicts } from './health-verdict.js';
import type { RolloutRecord } from './rollout-record.js';

export function rolloutView(record: RolloutRecord): RolloutView {
  const { id, createdAtMs, endedAtMs, subject, state, reason, wave, waves, waveBeganAtMs, soakBeganAtMs } = record;
  return {
    ...{ id, createdAtMs, subject, state, waves, waveBeganAtMs },
    endedAtMs: endedAtMs ?? null,
    reason: reason ?? null,
    wave: wave + 1,
    soakBeganAtMs: soakBeganAtMs ?? null,
    devices: record.devices,
    metrics: healthVerdicts(record.evidence, record.gate).map(metricView),
  };
}

function metricView({ metric, margin, lost, n: [candidate, incumbent], verdict }: HealthVerdict): RolloutMetricView {
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
  const seen = { candidate, incumbent };
  return { metric, margin, lostAtLeast: finite(lost.lower), lostAtMost: finite(lost.upper), seen, verdict };
}

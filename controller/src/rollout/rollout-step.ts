import type { DeviceId } from '@fleetgate/shared/ids';

import { type HealthVerdict, healthVerdicts } from './health-verdict.js';
import { hasBaseline } from './rollout-evidence.js';
import type { RolloutRecord } from './rollout-record.js';
import type { Wave } from './rollout-spec.js';
import { devicesOfWave, heldUpBy, type RolloutDevice } from './wave-devices.js';

const HOUR_MS = 3_600_000;

export interface StepFacts {
  /** Devices that it is about. */
  readonly devices: readonly RolloutDevice[];
  readonly nowMs: number;
  /** Devices that may be changed now by the cap of moves a minute. */
  readonly movesLeft: number;
}

/**
 * What becomes of a rollout now: the next devices of its wave, the next wave, adopted, or rolled back with the reason. The
 * same record where nothing changes. Level-triggered: asked again it goes on from where it is.
 */
export function stepRollout(record: RolloutRecord, facts: StepFacts): RolloutRecord {
  if (record.state !== 'running') return record;
  const bad = whatIsBad(record, facts);
  if (bad !== undefined) return ended(record, 'rolled-back', bad, facts.nowMs);
  const wave = record.waves[record.wave];
  if (wave === undefined) return ended(record, 'adopted', undefined, facts.nowMs);
  const wanted = devicesOfWave(wave, record.devices, facts.devices);
  const next = hasBaseline(record) ? movable(wanted, record, wave, facts) : [];
  if (next.length > 0) return { ...record, devices: [...record.devices, ...next], soakBeganAtMs: undefined };
  return whenComplete(record, wave, wanted, facts);
}

/** Back to the incumbent, for a reason of somebody's. */
export function abortRollout(record: RolloutRecord, reason: string, nowMs: number): RolloutRecord {
  return ended(record, 'aborted', reason, nowMs);
}

/** Devices that may get the candidate now, none beyond the cap. */
function movable(
  wanted: readonly DeviceId[],
  record: RolloutRecord,
  wave: Wave,
  { devices, nowMs, movesLeft }: StepFacts,
): readonly DeviceId[] {
  const hour = Math.floor((nowMs % (24 * HOUR_MS)) / HOUR_MS);
  const byId = new Map(devices.map((device) => [device.id, device]));
  return wanted
    .filter((id) => !record.devices.includes(id))
    .filter((id) => {
      const device = byId.get(id);
      return device !== undefined && heldUpBy(device, wave, hour) === undefined;
    })
    .slice(0, Math.max(0, movesLeft));
}

function whenComplete(
  record: RolloutRecord,
  wave: Wave,
  wanted: readonly DeviceId[],
  { devices, nowMs }: StepFacts,
): RolloutRecord {
  const there = new Set(devices.filter(({ candidate }) => candidate === 'there').map(({ id }) => id));
  const isThere = wanted.length > 0 && wanted.every((id) => there.has(id));
  if (isThere && record.soakBeganAtMs === undefined) return { ...record, soakBeganAtMs: nowMs };
  const hasSoaked = record.soakBeganAtMs !== undefined && nowMs >= record.soakBeganAtMs + 1000 * wave.soakS;
  const missing = hasSoaked ? notShown(healthVerdicts(record.evidence, record.gate)) : undefined;
  if (hasSoaked && missing === undefined) return nextWave(record, nowMs);
  if (nowMs < record.waveBeganAtMs + 1000 * wave.deadlineS) return record;
  const why = missing ?? (isThere ? 'its soak time was not over' : notThere(wanted, there, record));
  return ended(record, 'rolled-back', `wave ${record.wave + 1} was not done within ${wave.deadlineS} s: ${why}`, nowMs);
}

function nextWave(record: RolloutRecord, nowMs: number): RolloutRecord {
  if (record.wave + 1 >= record.waves.length) return ended(record, 'adopted', undefined, nowMs);
  return { ...record, wave: record.wave + 1, waveBeganAtMs: nowMs, soakBeganAtMs: undefined };
}

/** Why devices are to have the incumbent again at once. */
function whatIsBad({ devices: had, evidence, gate }: RolloutRecord, { devices }: StepFacts): string | undefined {
  const worse = healthVerdicts(evidence, gate).find(({ verdict }) => verdict === 'worse');
  if (worse !== undefined) return saidOf(worse);
  const own = devices.filter(({ id }) => had.includes(id));
  const failed = own.find(({ candidate }) => candidate === 'failed');
  if (failed !== undefined) return `${failed.id} could not take it`;
  const hot = own.find(({ temperatureC = -Infinity }) => temperatureC > (gate.temperatureC ?? Infinity));
  return hot === undefined ? undefined : `${hot.id} is at ${hot.temperatureC} °C, over ${gate.temperatureC} °C`;
}

/** What has to be shown and was not; of the others it is enough that nothing bad was. */
function notShown(verdicts: readonly HealthVerdict[]): string | undefined {
  const quality = verdicts.find(({ metric }) => metric === 'quality');
  if (quality === undefined || quality.verdict === 'not-worse') return undefined;
  return `it was not shown that no more than ${quality.margin} of quality is lost, after ${quality.n[0]} probe prompts`;
}

function notThere(wanted: readonly DeviceId[], there: ReadonlySet<DeviceId>, record: RolloutRecord): string {
  if (!hasBaseline(record)) return 'the incumbent could not be asked enough probe prompts';
  const missing = wanted.filter((id) => !there.has(id));
  return wanted.length === 0 ? 'no device was in it' : `${missing.join(', ')} did not report it`;
}

function saidOf({ metric, margin, lost, n }: HealthVerdict): string {
  const [candidate, incumbent] = n;
  return `${metric}: at least ${lost.lower.toPrecision(3)} is lost, ${margin} is tolerated (seen: ${candidate}, and ${incumbent} of the incumbent)`;
}

function ended(
  record: RolloutRecord,
  state: 'adopted' | 'rolled-back' | 'aborted',
  reason: string | undefined,
  nowMs: number,
): RolloutRecord {
  const devices = state === 'adopted' ? record.devices : [];
  return { ...record, state, devices, endedAtMs: nowMs, reason };
}

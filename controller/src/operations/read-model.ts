import type { DeviceView, StatusView, TelemetryBody } from '@fleetgate/shared/api/operations';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { BoardId } from '@fleetgate/shared/ids';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { Device } from '../fleet/device.js';
import type { Rollup } from '../telemetry/telemetry-store.js';

/** A device as the operations API shows it. */
export function deviceView(device: Device, boards: ReadonlyMap<BoardId, BoardProfile>): DeviceView {
  const { reported } = device;
  return {
    id: device.id,
    board: device.board,
    boardTitle: boards.get(device.board)?.title ?? device.board,
    state: device.presence,
    activity: activityOf(device),
    epoch: device.epoch,
    lastSeenMs: device.lastSeen ?? null,
    agentVersion: reported?.agentVersion ?? null,
    host: reported === undefined ? null : hostOf(reported.host),
    engine: reported === undefined ? null : engineOf(reported.engine),
    memory: reported?.memory ?? null,
    slots: reported?.slots ?? null,
    concurrency: reported?.concurrency ?? null,
    desiredGeneration: device.desired?.generation ?? 0,
    observedGeneration: reported?.observedGeneration ?? 0,
    settled: isSettled(device),
    power: reported === undefined ? null : powerOf(reported.power),
    variants: (reported?.variants ?? []).map(({ variantId, residency, progress, memoryBytes, error, slabs }) => ({
      variantId,
      residency,
      ...(progress === undefined ? {} : { progress }),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      ...(error === undefined ? {} : { error: error.message }),
      ...(slabs === undefined ? {} : { slabs }),
    })),
    governor: reported?.governor ?? null,
    measurements: reported?.measurements ?? [],
    last: device.last,
    lastSampleMs: device.lastSampleAt ?? null,
  };
}

function activityOf(device: Device): DeviceView['activity'] {
  const { reported, desired } = device;
  if (reported === undefined || device.presence !== 'online') return 'unknown';
  const asked = desired?.variants.some((variant) => variant.purpose === 'measure') ?? false;
  return asked && !isSettled(device) ? 'measuring' : reported.state;
}

/** Whether the device has done all that it was last asked for. */
function isSettled({ desired, reported }: Device): boolean {
  return reported !== undefined && reported.settled && reported.observedGeneration >= (desired?.generation ?? 0);
}

function hostOf({ os, arch, cpu, cores, memoryBytes }: NonNullable<Device['reported']>['host']): DeviceView['host'] {
  return { os, arch, cpu, cores, memoryBytes };
}

function engineOf(engine: NonNullable<Device['reported']>['engine']): DeviceView['engine'] {
  const { kind, version, state, reason } = engine;
  return { kind, version, state, ...(reason === undefined ? {} : { reason }) };
}

function powerOf(power: NonNullable<Device['reported']>['power']): DeviceView['power'] {
  const { source, from, idleW, loadW, mode, cpuGovernor } = power;
  return {
    source,
    from,
    idleW,
    loadW,
    ...(mode === undefined ? {} : { mode }),
    ...(cpuGovernor === undefined ? {} : { cpuGovernor }),
  };
}

export interface StatusFacts {
  readonly fleet: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** It stops, and takes no more requests. */
  readonly draining: boolean;
  readonly brokerConnected: boolean;
  readonly gate: StatusView['gate'];
  readonly devices: Iterable<Device>;
  readonly activePlanId: string | null;
  readonly mqttUrl: string;
  readonly mqttTlsUrl?: string;
  readonly replica?: StatusView['replica'];
}

/** One look at everything. Ready: a prompt that comes now can be answered, as far as the controller knows. */
export function statusView(facts: StatusFacts): StatusView {
  const devices = [...facts.devices];
  const online = devices.filter((device) => device.presence === 'online').length;
  const { draining, brokerConnected, gate, activePlanId } = facts;
  const ready = !draining && brokerConnected && gate.state !== 'training' && activePlanId !== null && online > 0;
  return {
    fleet: facts.fleet,
    version: facts.version,
    ready,
    startedAtMs: facts.startedAtMs,
    broker: facts.brokerConnected ? 'connected' : 'disconnected',
    gate: facts.gate,
    devices: { total: devices.length, online },
    activePlanId: facts.activePlanId,
    mqttUrl: facts.mqttUrl,
    ...(facts.mqttTlsUrl === undefined ? {} : { mqttTlsUrl: facts.mqttTlsUrl }),
    ...(facts.replica === undefined ? {} : { replica: facts.replica }),
  };
}

/** Telemetry rollups of one metric as the operations API shows them. */
export function telemetryBody(
  query: { readonly device: string; readonly metric: TelemetryBody['metric']; readonly step: Milliseconds },
  rollups: readonly Rollup[],
): TelemetryBody {
  return {
    device: query.device,
    metric: query.metric,
    stepMs: query.step,
    points: rollups
      .filter((rollup) => rollup.n > 0)
      .map(({ start, n, sum, min, max }) => ({ atMs: start, mean: sum / n, min, max, n })),
  };
}

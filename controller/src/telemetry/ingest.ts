import type { DeviceId } from '@fleetgate/shared/ids';
import { decode } from '@fleetgate/shared/protocol/codec';
import { METRICS, type Metric, type Telemetry, telemetrySchema } from '@fleetgate/shared/protocol/telemetry';
import { type Milliseconds, type UnixMs, milliseconds } from '@fleetgate/shared/units/quantity';

import type { TelemetryObservation, TelemetryRefusal } from './telemetry-event.js';
import type { Rollup } from './telemetry-store.js';
import { MinuteWindow, rollUp } from './window.js';

export interface IngestOptions {
  /** Samples older than this are refused. */
  readonly retention: Milliseconds;
  readonly onRefused: (deviceId: DeviceId, reason: TelemetryRefusal) => void;
  /** `newest` makes no rollups: somebody else stores what comes here. */
  readonly wanted?: 'all' | 'newest';
  /** Devices followed at once. One more takes the place of the one unheard for longest, if that is 10 minutes. */
  readonly mostDevices?: number;
  /** Rollups that may wait to be stored. */
  readonly mostRollups?: number;
}

/** What a value can be at most and at least to be believed, in the unit of its metric. */
const BELIEVABLE: Readonly<Record<Metric, readonly [least: number, most: number]>> = {
  powerW: [0, 10_000],
  temperatureC: [-60, 200],
  cpuRatio: [0, 1.01],
  memoryUsedBytes: [0, 2 ** 50],
  engineMemoryBytes: [0, 2 ** 50],
  batteryRatio: [0, 1.01],
  throttled: [0, 1],
  queuedJobs: [0, 1e6],
  runningJobs: [0, 1e6],
  outputTokensPerS: [0, 1e6],
};

// A sample taken while the batch was being sent may carry a slightly later time.
const FUTURE_TOLERANCE_MS = 1_000;
// Bounds the minutes that one message can touch.
const LONGEST_BATCH_MS = 3_600_000;
const IDLE = milliseconds(600_000);

interface Track {
  epoch: number;
  seq: number;
  newestSampleAt: number;
  heardAt: UnixMs;
  untold: { last: Partial<Record<Metric, number>>; sampledAtMs: number; receivedAtMs: number } | undefined;
}

/**
 * Turns telemetry messages into newest values and minute rollups. No I/O, no clock: instants come in.
 *
 * A batch counts once: of an older epoch, or with a sequence number already seen, it is dropped. Samples are placed by
 * our receive time less their age, because device clocks drift; so is a batch that waited out a lost connection.
 */
export class TelemetryIngest {
  readonly #options: IngestOptions;
  readonly #mostDevices: number;
  readonly #window: MinuteWindow;
  /** Least recently heard first. */
  readonly #tracks = new Map<DeviceId, Track>();
  readonly #untold = new Set<DeviceId>();

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#mostDevices = options.mostDevices ?? 50_000;
    this.#window = new MinuteWindow(options.mostRollups ?? 500_000);
  }

  /** Takes in one message. Returns how many samples counted; why others did not goes to `onRefused`. */
  accept(deviceId: DeviceId, payload: Uint8Array, receivedAt: UnixMs): number {
    const decoded = decode(telemetrySchema, payload);
    if (!decoded.ok) return this.#refuse(deviceId, refusalOf(decoded.error.code));
    const batch = decoded.message;
    const track = this.#trackOf(deviceId, batch, receivedAt);
    if (typeof track === 'string') return this.#refuse(deviceId, track);
    const fault = faultOf(batch, receivedAt, this.#options.retention);
    if (fault !== undefined) return this.#refuse(deviceId, fault);
    track.epoch = batch.epoch;
    track.seq = batch.seq;
    track.heardAt = receivedAt;
    this.#tracks.delete(deviceId);
    this.#tracks.set(deviceId, track);
    return this.#count(deviceId, batch, track, receivedAt);
  }

  /** Newest values of every device heard since the last call. */
  takeObservations(): readonly TelemetryObservation[] {
    const observations: TelemetryObservation[] = [];
    for (const deviceId of this.#untold) {
      const track = this.#tracks.get(deviceId);
      if (track?.untold === undefined) continue;
      observations.push({ deviceId, epoch: track.epoch, ...track.untold });
      track.untold = undefined;
    }
    this.#untold.clear();
    return observations;
  }

  /** Rollups since the last call, to be added to what is stored. */
  takeRollups(): readonly Rollup[] {
    return this.#window.take();
  }

  /** Gives back rollups that could not be stored; returns how many there was no more room for. */
  restoreRollups(rollups: readonly Rollup[]): number {
    return rollups.reduce((lost, rollup) => lost + (this.#window.add(rollup) ? 0 : 1), 0);
  }

  #trackOf(deviceId: DeviceId, batch: Telemetry, receivedAt: UnixMs): Track | TelemetryRefusal {
    const known = this.#tracks.get(deviceId);
    if (known !== undefined) {
      if (batch.epoch < known.epoch) return 'old-epoch';
      return batch.epoch === known.epoch && batch.seq <= known.seq ? 'duplicate' : known;
    }
    if (this.#tracks.size >= this.#mostDevices) {
      const [oldest] = this.#tracks;
      if (oldest !== undefined && receivedAt - oldest[1].heardAt < IDLE) return 'too-many-devices';
      if (oldest !== undefined) this.#tracks.delete(oldest[0]);
    }
    return { epoch: batch.epoch, seq: -1, newestSampleAt: -Infinity, heardAt: receivedAt, untold: undefined };
  }

  #count(deviceId: DeviceId, batch: Telemetry, track: Track, receivedAt: UnixMs): number {
    const oldest = receivedAt - this.#options.retention;
    const firstAt = receivedAt - (batch.sentAtMs - batch.t0Ms);
    const skipped = Math.max(0, Math.ceil((oldest - firstAt) / batch.dtMs));
    const sampledAtMs = firstAt + (batch.n - 1) * batch.dtMs;
    const isNewest = sampledAtMs >= track.newestSampleAt;
    const last: Partial<Record<Metric, number>> = isNewest ? { ...track.untold?.last } : {};
    let counted = 0;
    let absurd = false;
    for (const metric of METRICS) {
      const column = batch.columns[metric];
      if (column === undefined) continue;
      const [least, most] = BELIEVABLE[metric];
      const values = column.slice(skipped);
      for (const [index, value] of values.entries()) {
        if (value === null) continue;
        if (value >= least && value <= most) last[metric] = value;
        else {
          values[index] = null;
          absurd = true;
        }
      }
      if (this.#options.wanted === 'newest') {
        counted += values.reduce<number>((sum, value) => sum + (value === null ? 0 : 1), 0);
        continue;
      }
      for (const rollup of rollUp({
        deviceId,
        metric,
        firstAt: firstAt + skipped * batch.dtMs,
        dtMs: batch.dtMs,
        values,
      })) {
        if (this.#window.add(rollup)) counted += rollup.n;
      }
    }
    if (absurd) this.#options.onRefused(deviceId, 'absurd-value');
    if (isNewest && counted > 0) {
      track.newestSampleAt = sampledAtMs;
      track.untold = { last, sampledAtMs, receivedAtMs: receivedAt };
      this.#untold.add(deviceId);
    }
    return counted;
  }

  #refuse(deviceId: DeviceId, reason: TelemetryRefusal): 0 {
    this.#options.onRefused(deviceId, reason);
    return 0;
  }
}

/** Why no sample of a batch can be placed in time, if so. */
function faultOf(batch: Telemetry, receivedAt: UnixMs, retention: Milliseconds): TelemetryRefusal | undefined {
  const span = (batch.n - 1) * batch.dtMs;
  if (!(span <= LONGEST_BATCH_MS)) return 'too-long';
  const newestAge = batch.sentAtMs - (batch.t0Ms + span);
  if (!(newestAge >= -FUTURE_TOLERANCE_MS)) return 'from-the-future';
  return newestAge <= Math.min(retention, receivedAt) ? undefined : 'too-old';
}

function refusalOf(code: string): TelemetryRefusal {
  if (code === 'protocol.too-large') return 'too-large';
  return code === 'protocol.unsupported-version' ? 'unsupported-version' : 'malformed';
}

import { deviceId, type JobId, type VariantId } from '@fleetgate/shared/ids';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import type { Random } from '@fleetgate/shared/random';

import { SIMULATED_BOARDS, type SimulatedBoard, type SimulatedBody } from './boards.js';
import type { EventClock } from './event-clock.js';
import type { SimulatedExpert } from './simulated-catalogue.js';
import { SimulatedDevice, type TrueSpeed } from './simulated-device.js';
import type { NetworkFaults, SimulatedNetwork } from './simulated-network.js';
import type { Arrival } from './trace.js';

/** Scatter of the time of a job about what its device does in the mean, as a standard deviation of its logarithm. */
const JOB_NOISE = 0.1;
/** Devices that are slow, and how slow; hot ones are slow now and then. */
const SLOW_FACTOR = 1.8;
const HOT_FACTOR = 2.5;
const HOT_PERIOD_MS = 600_000;

export interface SimulationFaults extends NetworkFaults {
  /** Shares (0..1) of the devices. */
  readonly slow: number;
  readonly hot: number;
  /** Restarts of each device, an hour. */
  readonly restarts: number;
}

/** A device to be simulated: what it draws and holds, how fast it really is, and what it says that it has measured. */
export interface DeviceSpec {
  readonly id: string;
  readonly board: SimulatedBody;
  readonly speeds: ReadonlyMap<VariantId, TrueSpeed>;
  readonly measurements: readonly Measurement[];
}

export interface FleetMake {
  readonly devices: readonly DeviceSpec[];
  readonly faults: SimulationFaults;
}

/** The devices, some of them slow or hot as told, each known to the network. */
export function makeDevices(
  { devices, faults }: FleetMake,
  clock: EventClock,
  random: Random,
  network: SimulatedNetwork,
  workOf: (job: JobId) => Arrival,
): readonly SimulatedDevice[] {
  return devices.map(({ board, id: name, measurements, speeds }) => {
    const id = deviceId(name);
    const isSlow = random.uniform() < faults.slow;
    const isHot = random.uniform() < faults.hot;
    const phase = random.uniform() * HOT_PERIOD_MS;
    const device = new SimulatedDevice({
      id,
      board,
      speedOf: (variant) => speeds.get(variant),
      measurements,
      workOf,
      slowness: () => {
        const hot = isHot && Math.sin((2 * Math.PI * (clock.now() + phase)) / HOT_PERIOD_MS) > 0.5;
        return Math.exp(JOB_NOISE * normal(random)) * (isSlow ? SLOW_FACTOR : 1) * (hot ? HOT_FACTOR : 1);
      },
      clock,
      tell: { reported: (reported) => network.reported(id, reported), out: (out) => network.told(id, out) },
    });
    network.add(device);
    return device;
  });
}

/** So many devices of the table's boards, each a little faster or slower than its kind. */
export function boardSpecs(count: number, experts: readonly SimulatedExpert[], random: Random): readonly DeviceSpec[] {
  return boardsOf(count).map((board, n) => {
    const own = Math.exp(0.05 * normal(random));
    const speeds = new Map(experts.map((expert) => [expert.variant.id, speedOn(board, expert, own)]));
    const measurements = experts.flatMap((expert) => measurementOf(board, expert, speeds.get(expert.variant.id)));
    return { id: `sim-${String(n).padStart(4, '0')}`, board, speeds, measurements };
  });
}

/** Boards in the shares of the table, mixed. */
function boardsOf(count: number): readonly SimulatedBoard[] {
  const given = SIMULATED_BOARDS.map(() => 0);
  return Array.from({ length: count }, (_, n) => {
    // Whichever is furthest behind its share.
    const behind = SIMULATED_BOARDS.map(({ share }, b) => share * (n + 1) - (given[b] ?? 0));
    const next = behind.indexOf(Math.max(...behind));
    given[next] = (given[next] ?? 0) + 1;
    return SIMULATED_BOARDS[next] as SimulatedBoard;
  });
}

function speedOn(board: SimulatedBoard, { paramsB, variant }: SimulatedExpert, own: number): TrueSpeed {
  return {
    prefillTokensPerS: (own * board.prefill) / paramsB,
    decodeTokensPerS: (own * board.decode) / paramsB,
    memoryBytes: variant.facts.memoryBytes,
    sizeBytes: variant.sizeBytes,
  };
}

/** What the enrolment benchmark says: the truth, for the noise of jobs comes on top. */
function measurementOf(
  board: SimulatedBoard,
  { variant }: SimulatedExpert,
  speed: TrueSpeed | undefined,
): Measurement[] {
  if (speed === undefined || variant.facts.memoryBytes > board.memoryGiB * 2 ** 30) return [];
  const aboveIdleW = board.loadW - board.idleW;
  return [
    {
      variantId: variant.id,
      sha256: variant.sha256,
      prefillTokensPerS: speed.prefillTokensPerS,
      decodeTokensPerS: speed.decodeTokensPerS,
      relativeSd: 0.05,
      prefillJPerToken: aboveIdleW / speed.prefillTokensPerS,
      decodeJPerToken: aboveIdleW / speed.decodeTokensPerS,
      energySource: 'measured',
      overheadMs: 20,
      loadMs: 1000,
      memoryBytes: speed.memoryBytes,
      measuredAtMs: 1,
    },
  ];
}

/** Standard normal, Box-Muller. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

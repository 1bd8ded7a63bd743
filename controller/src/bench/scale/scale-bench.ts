import { treeResidentBytes } from '../load/linux-process-tree.js';
import { type BenchReport, figure, type Progress } from '../bench-report.js';
import type { HttpFleetClient } from '../http-fleet-client.js';
import { processUse } from '../linux-process-use.js';
import { ApiProber } from './http-api-prober.js';
import { enrolMany } from './http-enrol-many.js';
import { Swarm } from './process-swarm.js';

const CONNECT_DEADLINE_MS = 300_000;
const SETTLE_MS = 15_000;
const LAST_ANSWERS_MS = 2_000;
const MEMORY_EVERY_MS = 10_000;

export interface ScaleParts {
  readonly url: string;
  readonly key: string | undefined;
  readonly client: HttpFleetClient;
  readonly joinToken: string;
  readonly controllerPid: () => number;
  readonly brokerPid: () => Promise<number>;
  /** Ends the controller in order, and counts the samples of one metric that its telemetry database then holds. */
  readonly stopAndCount: () => Promise<number>;
}

export interface ScaleSettings {
  readonly devices: number;
  /** Samples of a message; each device takes one a second. */
  readonly batch: number;
  readonly steadyMs: number;
}

/** Joins, connects, loses and regains its broker, and then sends telemetry: a fleet of `devices`. */
export async function scaleBench(
  parts: ScaleParts,
  settings: ScaleSettings,
  say: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { devices } = settings;
  say(`${devices} devices enrol by HTTP`);
  const joining = await measured(parts, () => enrolMany(parts.url, parts.joinToken, devices, signal));
  const [first] = joining.value;
  const { mqttUrl = '', fleet = '' } = first ?? {};
  const known = joining.value.map(({ deviceId, secret }) => ({ id: deviceId, secret }));
  const swarm = await Swarm.start({ mqttUrl, fleet, devices: known });
  const all = (): Promise<number> => swarm.until(({ online }) => online === devices, CONNECT_DEADLINE_MS, signal);
  try {
    say('all connect at once');
    swarm.order({ kind: 'connect' });
    const connecting = await measured(parts, all);
    await pause(SETTLE_MS, signal);
    say('the broker is killed');
    const lostBefore = swarm.state.tally.lost;
    process.kill(await parts.brokerPid(), 'SIGKILL');
    await swarm.until(({ tally }) => tally.lost >= lostBefore + devices, CONNECT_DEADLINE_MS, signal);
    const reconnecting = await measured(parts, all);
    await pause(SETTLE_MS, signal);
    say(`telemetry for ${settings.steadyMs / 60_000} min`);
    const steady = await measured(parts, () => steadyState(parts, settings, swarm, known[0]?.id ?? '', signal));
    // What it tells of itself is up to 200 ms old.
    await pause(LAST_ANSWERS_MS, signal);
    const list = await timed(() => parts.client.text('/api/v1/devices'));
    await swarm.until(({ tally }) => tally.acknowledgedBatches === tally.published, 30_000, signal);
    const { tally } = swarm.state;
    const stored = await parts.stopAndCount();
    const per = (cpuS: number, count: number): number => (cpuS * 1e6) / Math.max(1, count);
    const { api, memory } = steady.value;
    return {
      name: `fleet of ${devices} devices, ${settings.batch} samples a message`,
      figures: [
        figure('API, p99 while telemetry comes', 'ms', api.ms.p99, { name: 'bar', value: 50 }),
        figure('broker and ingestion, CPU a sample', 'us', per(steady.brokerCpuS, tally.acknowledgedSamples), {
          name: 'bar for columns',
          value: 2,
        }),
        figure('broker and ingestion, CPU a message', 'us', per(steady.brokerCpuS, tally.acknowledgedBatches), {
          name: 'bar for single messages',
          value: 60,
        }),
        figure('controller, CPU a message', 'us', per(steady.controllerCpuS, tally.acknowledgedBatches)),
        figure('samples stored', 'samples', stored, { name: 'acknowledged', value: tally.acknowledgedSamples }),
      ],
      tables: [
        {
          title: 'Phases',
          columns: ['phase', 's', 'controller CPU s', 'broker CPU s'],
          rows: [
            ['enrol, 32 at once', joining],
            ['connect, all at once', connecting],
            ['reconnect after a killed broker', reconnecting],
            ['telemetry', steady],
          ].map(([name, phase]) => phaseRow(name as string, phase as Measured<unknown>)),
        },
        {
          title: 'Memory while telemetry comes: controller with broker, MB',
          columns: ['at s', 'MB'],
          rows: memory.map(({ atS, bytes }) => [Math.round(atS), Math.round(bytes / 1e6)]),
        },
      ],
      notes: [
        `${api.ms.count} questions to the API, median ${api.ms.p50.toFixed(1)} ms, ${api.failures} failed; the list of all devices took ${list.toFixed(0)} ms`,
        'CPU of broker and ingestion has keep-alive pings, acknowledgements, storage and all that it does when nothing comes in it: with few devices that is most',
        'devices are connections of their own from one process at loopback addresses, by user name and secret without TLS; they have no engine',
        'times depend on what else the machine does; CPU time much less',
      ],
    };
  } finally {
    await swarm.stop();
  }
}

async function steadyState(
  { url, key, controllerPid }: ScaleParts,
  { batch, steadyMs }: ScaleSettings,
  swarm: Swarm,
  device: string,
  signal: AbortSignal,
) {
  const prober = new ApiProber(url, key, [`/api/v1/devices/${device}`, '/v1/models', '/api/v1/status', '/healthz']);
  const memory: { readonly atS: number; readonly bytes: number }[] = [];
  const began = performance.now();
  swarm.order({ kind: 'telemetry', samples: batch });
  try {
    for (let at = 0; at < steadyMs; at += MEMORY_EVERY_MS) {
      await pause(Math.min(MEMORY_EVERY_MS, steadyMs - at), signal);
      memory.push({ atS: (performance.now() - began) / 1000, bytes: await treeResidentBytes(controllerPid()) });
    }
  } finally {
    swarm.order({ kind: 'quiet' });
  }
  return { api: await prober.stop(), memory };
}

interface Measured<T> {
  readonly value: T;
  readonly s: number;
  readonly controllerCpuS: number;
  readonly brokerCpuS: number;
}

async function measured<T>(parts: ScaleParts, work: () => Promise<T>): Promise<Measured<T>> {
  const broker = await parts.brokerPid();
  const cpu = (pid: number): number => processUse(pid)?.cpuS ?? NaN;
  const before = [cpu(parts.controllerPid()), cpu(broker)] as const;
  const began = performance.now();
  const value = await work();
  const s = (performance.now() - began) / 1000;
  return { value, s, controllerCpuS: cpu(parts.controllerPid()) - before[0], brokerCpuS: cpu(broker) - before[1] };
}

function phaseRow(name: string, { s, controllerCpuS, brokerCpuS }: Measured<unknown>): readonly (string | number)[] {
  return [name, s.toFixed(1), controllerCpuS.toFixed(1), brokerCpuS.toFixed(1)];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  signal.throwIfAborted();
}

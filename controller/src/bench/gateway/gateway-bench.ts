import { FleetError, isFleetError } from '@fleetgate/shared/errors';

import { type BenchFigure, type BenchReport, type BenchTable, figure, type Progress } from '../bench-report.js';
import { processMemory } from '../linux-process-memory.js';
import { processUse } from '../linux-process-use.js';
import { decisionLatency } from './decision-latency.js';
import {
  BARS,
  type Cell,
  decisionFigures,
  gatewayFigures,
  type Kind,
  KINDS,
  loadTable,
  OURS,
  othersTable,
} from './gateway-figures.js';
import type { LoadResult } from './http-load.js';
import { type LoadProcess, startLoad } from './process-load.js';
import { startPortkey } from './process-portkey.js';
import { ANSWER_FRAMES, PACED } from './process-server.js';
import { startBareController, startFleet, startRawProxy, startUpstream, type Target } from './process-targets.js';

export interface GatewayBenchOptions {
  /** Also Portkey's gateway, from npm. */
  readonly peers: boolean;
  readonly rounds: number;
  /** JSON requests of a long run whose memory is watched; 0: none. */
  readonly requests: number;
  /** Asked in turns. */
  readonly prompts: readonly string[];
}

const CONNECTIONS: Readonly<Record<Kind, readonly number[]>> = { json: [1, 10, 64], stream: [1, 10, 64], paced: [10] };
const CELL_MS = 2_000;
const WARM_UP_MS = 4_000;
/** Records are in the database within 200 ms. */
const SETTLE_MS = 400;
/** As many as `fleetgate up` starts. */
const DEVICES = 3;
const MEMORY_LOOKS = 10;

/**
 * What stands between a client and an instant upstream, in the same run: nothing, a bare proxy, Portkey's gateway where it
 * is asked for, and a controller as it is shipped with instant devices behind its broker. Needs no running fleet.
 */
export async function gatewayBench(
  options: GatewayBenchOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const running: { stop(): Promise<void> }[] = [];
  const start = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const started = await starting;
    running.push(started);
    return started;
  };
  const notes: string[] = [];
  progress('gateway: decisions');
  const decision = decisionLatency();
  try {
    progress('gateway: starting a controller and instant devices');
    const upstream = await start(startUpstream());
    const targets = [upstream, await start(startRawProxy(upstream)), await start(startBareController(DEVICES))];
    if (options.peers) {
      await start(startPortkey(upstream)).then(
        (portkey) => targets.push(portkey),
        (error: unknown) => {
          if (!isFleetError(error) || error.code !== 'setup.missing') throw error;
          notes.push(error.message);
        },
      );
    }
    const ours = await start(startFleet(DEVICES));
    const load = await start(startLoad());
    const rig: Rig = { load, options, progress, signal };
    const cells = await measure(rig, [...targets, ours]);
    const memory = await memoryOf(rig, [...targets, ours]);
    const long = options.requests > 0 ? await longRun(rig, ours) : { figures: [], tables: [] };
    return {
      name: 'gateway',
      figures: [...gatewayFigures(cells), ...long.figures, ...decisionFigures(decision)],
      tables: [...KINDS.map((kind) => loadTable(cells, kind)), othersTable(cells), memory, ...long.tables],
      notes: [...notes, ...NOTES(options)],
    };
  } finally {
    for (const one of running.toReversed()) await one.stop();
  }
}

const NOTES = ({ rounds }: GatewayBenchOptions): readonly string[] => [
  `medians of ${rounds} rounds of ${CELL_MS / 1000} s each, in which the targets take turns, every other round in the opposite order`,
  'direct: a server that answers at once, which the proxies pass requests on to; CPU: of the process itself (all of its threads), from /proc',
  `fleetgate: a controller as it is shipped: gate, decision, budgets, ledger with its journal, learning, metrics; its ${DEVICES} instant devices are MQTT clients of one process behind a broker in another, a bare Aedes: ours limits what a device may say a second`,
  "bare controller: Node's HTTP server, the same MQTT client, broker and devices, and nothing between: no check, decision, deadline, ledger or metric",
  `an answer has ${ANSWER_FRAMES} tokens; fleetgate joins those that arrive together into one frame`,
];

interface Rig {
  readonly load: LoadProcess;
  readonly options: GatewayBenchOptions;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

async function measure(rig: Rig, targets: readonly Target[]): Promise<readonly Cell[]> {
  const { options, progress, signal } = rig;
  for (const target of targets) {
    progress(`gateway: warming up ${target.name}`);
    for (const kind of KINDS) await runOne(rig, target, kind, 10, { durationMs: WARM_UP_MS });
  }
  const cells: Cell[] = [];
  for (let round = 0; round < options.rounds; round++) {
    for (const kind of KINDS) {
      for (const connections of CONNECTIONS[kind]) {
        progress(`gateway: round ${round + 1} of ${options.rounds}, ${kind}, ${connections} at once`);
        for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
          signal.throwIfAborted();
          cells.push(await cellOf(rig, target, kind, connections, round));
        }
      }
    }
  }
  return cells;
}

async function cellOf(rig: Rig, target: Target, kind: Kind, connections: number, round: number): Promise<Cell> {
  const processes = { own: target.pid, ...target.others };
  const use = (): Readonly<Record<string, number>> =>
    Object.fromEntries(Object.entries(processes).map(([name, pid]) => [name, processUse(pid)?.cpuS ?? NaN]));
  const before = use();
  const load = await runOne(rig, target, kind, connections, { durationMs: CELL_MS });
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const perRequest = Object.entries(use()).map(([name, cpuS]) => [
    name,
    (1000 * (cpuS - (before[name] ?? NaN))) / load.answered,
  ]);
  const { own = NaN, ...othersCpuMs } = Object.fromEntries(perRequest) as Record<string, number>;
  return { target: target.name, kind, connections, round, load, cpuMs: own, othersCpuMs };
}

async function runOne(
  { load, options }: Rig,
  target: Target,
  kind: Kind,
  connections: number,
  most: { readonly durationMs?: number; readonly requests?: number },
): Promise<LoadResult> {
  const bodies = options.prompts.map((content) =>
    JSON.stringify({
      model: target.model,
      messages: [{ role: 'user', content }],
      max_tokens: ANSWER_FRAMES,
      temperature: 0,
      // How the instant devices and the stub are told in how many parts to answer.
      seed: { json: 1, stream: ANSWER_FRAMES, paced: PACED + ANSWER_FRAMES }[kind],
      ...(kind === 'json' ? {} : { stream: true }),
    }),
  );
  const result = await load.run({ port: target.port, headers: target.headers, bodies, connections, ...most });
  if (result.answered > 0) return result;
  throw new FleetError('setup.missing', `${target.name} answers nothing: ${result.firstFailure ?? 'silence'}`);
}

async function memoryOf({ progress }: Rig, targets: readonly Target[]): Promise<BenchTable> {
  progress('gateway: memory');
  const rows = await Promise.all(
    targets.map(async ({ name, pid }) => {
      const memory = await processMemory(pid);
      return [name, ...[memory?.residentBytes, memory?.peakBytes].map((bytes) => megabytes(bytes ?? NaN))];
    }),
  );
  return { title: 'memory after all rounds, MB', columns: ['', 'resident', 'peak'], rows };
}

/** Whether memory grows with requests. */
async function longRun(
  rig: Rig,
  ours: Target,
): Promise<{ readonly figures: readonly BenchFigure[]; readonly tables: readonly BenchTable[] }> {
  const each = Math.ceil(rig.options.requests / MEMORY_LOOKS);
  const rows: [number, number, string, number][] = [];
  let [answered, failed] = [0, 0];
  for (let look = 1; look <= MEMORY_LOOKS; look++) {
    rig.signal.throwIfAborted();
    rig.progress(`gateway: ${answered} of ${rig.options.requests} requests in a row`);
    const before = processUse(ours.pid)?.cpuS ?? NaN;
    const part = await runOne(rig, ours, 'json', 10, { requests: each });
    answered += part.answered;
    failed += part.failed;
    const cpuMs = (1000 * ((processUse(ours.pid)?.cpuS ?? NaN) - before)) / part.answered;
    rows.push([answered, megabytes((await processMemory(ours.pid))?.residentBytes ?? NaN), cpuMs.toFixed(3), failed]);
  }
  const most = Math.max(...rows.map(([, resident]) => resident));
  return {
    figures: [figure(`most memory over ${answered} requests`, 'MB', most, { name: 'bar', value: BARS.residentMb })],
    tables: [{ title: `${OURS}, 10 at once`, columns: ['requests', 'resident MB', 'CPU ms', 'failed'], rows }],
  };
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

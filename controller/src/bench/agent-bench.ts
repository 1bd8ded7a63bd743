import { type BenchReport, figure } from './bench-report.js';
import { allProcesses, bareNodeMemory, type ProcessMemory } from './linux-process-memory.js';

/** Parts of Fleetgate that run as a process of their own. */
export const ROLES = ['controller', 'broker', 'optimiser', 'training', 'agent', 'engine', 'supervisor'] as const;
export type Role = (typeof ROLES)[number];

/** What a process is, from its command line; undefined for what is not ours. Pure. */
export function roleOf(command: readonly string[]): Role | undefined {
  const [program = '', script = '', subcommand = ''] = command;
  if (!/(?:^|\/)node(?:js)?\d*$/.test(program)) return undefined;
  if (script.endsWith('broker-main.js')) return 'broker';
  if (script.endsWith('optimiser-main.js')) return 'optimiser';
  if (script.endsWith('gate-training-main.js')) return 'training';
  if (/agent\/dist\/engine\/.*\.js$/.test(script)) return 'engine';
  if (script.endsWith('controller/dist/main.js')) return 'controller';
  if (script.endsWith('agent/dist/main.js')) return 'agent';
  if (!/(?:^|\/)fleetgate(?:\.mjs)?$/.test(script)) return undefined;
  if (subcommand === 'controller') return 'controller';
  if (subcommand === 'agent') return 'agent';
  return subcommand === 'up' ? 'supervisor' : undefined;
}

/**
 * Memory of the fleet's processes on this machine, from /proc. An agent's model lives in its engine child, so the
 * daemon's own memory is that of an agent without a model. Works on Linux, for a fleet of the same user.
 */
export async function agentBench(): Promise<BenchReport> {
  const all = await allProcesses();
  const ours = all.flatMap((process) => {
    const role = roleOf(process.command);
    return role === undefined ? [] : [{ role, process }];
  });
  const bare = await bareNodeMemory();
  const peer =
    bare === undefined ? undefined : { name: 'node that does nothing', value: mebibytes(bare.residentBytes) };
  const largest = (role: Role) =>
    Math.max(...ours.filter((one) => one.role === role).map((one) => one.process.residentBytes));
  return {
    name: 'agent',
    figures: (['agent', 'controller'] as const)
      .filter((role) => ours.some((one) => one.role === role))
      .map((role) =>
        figure(
          role === 'agent' ? 'agent without a model, resident (largest)' : 'controller, resident',
          'MiB',
          mebibytes(largest(role)),
          peer,
        ),
      ),
    tables: [
      {
        title: 'memory by process, MiB',
        columns: ['process', 'pid', 'up, s', 'resident', 'at most so far', 'proportional'],
        rows: ROLES.flatMap((role) => ours.filter((one) => one.role === role).map((one) => row(role, one.process))),
      },
    ],
    notes: [
      ours.length === 0
        ? 'no process of Fleetgate is running on this machine: start one with fleetgate up'
        : "agent: the daemon, whose engine child ('engine') holds the models; idle figures need a fleet that has been idle for a minute",
      ...(ours.filter((one) => one.role === 'controller').length > 1
        ? ['more than one fleet runs on this machine: the figures are of the largest process of either']
        : []),
    ],
  };
}

function row(role: Role, process: ProcessMemory): readonly (string | number)[] {
  const { proportionalBytes } = process;
  return [
    role,
    process.pid,
    process.upSeconds.toFixed(0),
    mebibytes(process.residentBytes).toFixed(1),
    mebibytes(process.peakBytes).toFixed(1),
    proportionalBytes === undefined ? '-' : mebibytes(proportionalBytes).toFixed(1),
  ];
}

function mebibytes(bytes: number): number {
  return bytes / 2 ** 20;
}

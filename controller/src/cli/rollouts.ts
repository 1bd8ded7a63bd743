import { readFileSync } from 'node:fs';

import type { ListBody } from '@fleetgate/shared/api/operations';
import type { RolloutMetricView, RolloutView } from '@fleetgate/shared/api/rollouts';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Command } from 'commander';
import { parse } from 'yaml';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { countOption } from './options.js';
import { printJson, printLine, printTable, showAge } from './output.js';

interface RolloutsOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface StartOptions extends RolloutsOptions {
  readonly spec?: string;
}

export function registerRollouts(program: Command): void {
  const rollouts = program
    .command('rollouts')
    .description('replace what devices have, wave by wave, and back where it does worse');
  withConnection(rollouts.command('list', { isDefault: true }).description('rollouts, newest first')).action(list);
  withConnection(rollouts.command('show').description('one rollout, and what was seen of it').argument('<id>')).action(
    show,
  );
  withConnection(
    rollouts
      .command('start')
      .description(
        'give devices another variant of an expert: one device, a tenth, all, each wave held against the incumbent',
      )
      .argument('<incumbent>', 'variant that they have')
      .argument('<candidate>', 'variant that they are to have')
      .option('--spec <file>', 'YAML or JSON with `waves` and `gate` (docs/rollouts.md)'),
  ).action(start);
  withConnection(
    rollouts
      .command('release')
      .description('give devices a signed release: settings of a board, or the agent')
      .argument('<kind>', 'board-config or agent')
      .argument('<name>', 'the board, or agent')
      .argument('<number>', 'as `releases list` shows it', countOption)
      .option('--spec <file>', 'YAML or JSON with `waves` and `gate` (docs/rollouts.md)'),
  ).action((kind: string, name: string, sequence: number, options: StartOptions) =>
    begin({ kind, name, sequence }, options),
  );
  for (const [verb, what] of [
    ['pause', 'no more devices get it; those that have it keep it'],
    ['resume', 'go on with a paused one'],
    ['abort', 'every device gets back what it had'],
  ] as const) {
    withConnection(rollouts.command(verb).description(what).argument('<id>')).action(
      (id: string, options: RolloutsOptions) => change(id, verb, options),
    );
  }
}

async function list(options: RolloutsOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<RolloutView>>('/api/v1/rollouts');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0)
    return printLine('no rollouts; `fleetgate rollouts start INCUMBENT CANDIDATE` begins one');
  printTable(
    [
      { title: 'id', value: (row) => row.id },
      { title: 'what', value: (row) => whatOf(row) },
      { title: 'state', value: (row) => row.state },
      { title: 'wave', value: (row) => `${Math.min(row.wave, row.waves.length)}/${row.waves.length}` },
      { title: 'devices', value: (row) => String(row.devices.length), align: 'right' },
      { title: 'began', value: (row) => showAge(row.createdAtMs, Date.now()) },
      { title: 'why', value: (row) => row.reason ?? '' },
    ],
    body.items,
  );
}

async function show(id: string, options: RolloutsOptions): Promise<void> {
  const view = await new ApiClient(options).get<RolloutView>(`/api/v1/rollouts/${encodeURIComponent(id)}`);
  if (options.json === true) return printJson(view);
  print(view);
}

function start(incumbent: string, candidate: string, options: StartOptions): Promise<void> {
  return begin({ kind: 'variant', incumbent, candidate }, options);
}

async function begin(subject: object, { spec, ...options }: StartOptions): Promise<void> {
  const body = { ...(spec === undefined ? {} : readSpec(spec)), subject };
  const view = await new ApiClient(options).post<RolloutView>('/api/v1/rollouts', body);
  if (options.json === true) return printJson(view);
  print(view);
}

async function change(id: string, verb: 'pause' | 'resume' | 'abort', options: RolloutsOptions): Promise<void> {
  const view = await new ApiClient(options).post<RolloutView>(`/api/v1/rollouts/${encodeURIComponent(id)}/${verb}`, {});
  if (options.json === true) return printJson(view);
  print(view);
}

function readSpec(path: string): object {
  try {
    const spec: unknown = parse(readFileSync(path, 'utf8'));
    if (typeof spec === 'object' && spec !== null && !Array.isArray(spec)) return spec;
  } catch (cause) {
    throw new FleetError('usage.invalid', `--spec ${path}: ${messageOf(cause)}`, { cause });
  }
  throw new FleetError('usage.invalid', `--spec ${path}: expected an object with \`waves\` and \`gate\``);
}

function print(view: RolloutView): void {
  printLine(`${view.id}  ${whatOf(view)}  ${view.state}${view.reason === null ? '' : `: ${view.reason}`}`);
  printLine(
    `wave ${Math.min(view.wave, view.waves.length)} of ${view.waves.length}; ${view.devices.join(', ') || 'no device yet'}`,
  );
  if (view.metrics.length === 0) return;
  printTable<RolloutMetricView>(
    [
      { title: 'metric', value: (row) => row.metric },
      { title: 'lost at least', value: (row) => shown(row.lostAtLeast), align: 'right' },
      { title: 'at most', value: (row) => shown(row.lostAtMost), align: 'right' },
      { title: 'tolerated', value: (row) => String(row.margin), align: 'right' },
      { title: 'seen', value: (row) => `${row.seen.candidate} / ${row.seen.incumbent}`, align: 'right' },
      { title: 'verdict', value: (row) => row.verdict },
    ],
    view.metrics,
  );
}

function whatOf({ subject }: RolloutView): string {
  if (subject.kind === 'variant') return `${subject.incumbent} -> ${subject.candidate}`;
  return `${subject.kind} ${subject.name} ${subject.sequence}`;
}

function shown(value: number | null): string {
  return value === null ? '-' : value.toFixed(3);
}

import { readFileSync } from 'node:fs';

import type { ListBody, PlanView } from '@fleetgate/shared/api/operations';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { activePlanId, getPlan } from './plan-client.js';
import { registerPlanExplain } from './plan-explain.js';
import { printJson, printLine, printTable, showAge, showNumber, styled } from './output.js';

interface PlanOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface ProposeOptions extends PlanOptions {
  readonly budgets?: string;
}

export function registerPlan(program: Command): void {
  const plan = program.command('plan').description('see, propose and apply plans');
  withConnection(
    plan
      .command('show', { isDefault: true })
      .description('the active plan, or the one named, and the list of kept plans')
      .argument('[id]'),
  ).action(show);
  registerPlanExplain(plan);
  withConnection(
    plan
      .command('propose')
      .description('make a plan without applying it')
      .option('--budgets <file>', 'JSON file of budgets to try out (`fleetgate budget show --json` prints a pattern)'),
  ).action(propose);
  withConnection(plan.command('apply').description('put a plan in force').argument('<id>')).action(apply);
  withConnection(plan.command('rollback').description('put the plan before this one in force again')).action(rollback);
}

async function show(id: string | undefined, options: PlanOptions): Promise<void> {
  const client = new ApiClient(options);
  const wanted = id ?? (await activePlanId(client));
  const plan = wanted === null ? null : await getPlan(client, wanted);
  if (options.json === true) return printJson(plan);
  if (plan === null) printLine('no plan is active yet; `fleetgate devices` shows what each device is doing');
  else printPlan(plan);
  if (id !== undefined) return;
  const { items } = await client.get<ListBody<PlanView>>('/api/v1/plans');
  if (items.length === 0) return;
  printLine();
  printTable(
    [
      { title: 'plan', value: (row) => row.id },
      { title: 'state', value: (row) => row.state },
      { title: 'made', value: (row) => showAge(row.createdAtMs, Date.now()) },
      { title: 'why', value: (row) => row.trigger },
      { title: 'status', value: (row) => row.status },
      { title: 'objective', value: (row) => showNumber(row.objective), align: 'right' },
    ],
    items.slice(0, 10),
  );
}

async function propose(options: ProposeOptions): Promise<void> {
  const budgets = options.budgets === undefined ? undefined : readJson(options.budgets);
  const plan = await new ApiClient(options).post<PlanView>(
    '/api/v1/plans/propose',
    budgets === undefined ? {} : { budgets },
  );
  if (options.json === true) return printJson(plan);
  printPlan(plan);
  if (plan.state === 'proposed') printLine(`\napply it with \`fleetgate plan apply ${plan.id}\``);
}

async function apply(id: string, options: PlanOptions): Promise<void> {
  const plan = await new ApiClient(options).post<PlanView>(`/api/v1/plans/${encodeURIComponent(id)}/apply`);
  if (options.json === true) printJson(plan);
  else printLine(`plan ${plan.id} is active`);
}

async function rollback(options: PlanOptions): Promise<void> {
  const plan = await new ApiClient(options).post<PlanView>('/api/v1/plans/rollback');
  if (options.json === true) printJson(plan);
  else printLine(`plan ${plan.id} is active again`);
}

function printPlan(plan: PlanView): void {
  const gap = plan.gap === null ? '' : `, at most ${(100 * plan.gap).toFixed(1)} % below the best possible`;
  printLine(`${styled('bold', `plan ${plan.id}`)}  ${plan.state}, ${plan.status}, made because: ${plan.trigger}`);
  printLine(
    `objective ${showNumber(plan.objective)} of 1000${gap}; solved in ${plan.solveMs} ms by ${plan.method}` +
      (plan.verified ? ', verified' : ''),
  );
  const binding = plan.constraints.filter((constraint) => constraint.binding);
  if (binding.length > 0) {
    printLine(`binding: ${binding.map(({ group, subject }) => `${group} ${subject}`.trim()).join(', ')}`);
  }
  for (const deviceId of new Set([...plan.poweredOn, ...plan.placements.map((placement) => placement.deviceId)])) {
    const held = plan.placements.filter((placement) => placement.deviceId === deviceId);
    printLine(`  ${deviceId}: ${held.map(({ variantId }) => variantId).join(' ') || '(nothing)'}`);
  }
  if (plan.routing.length > 0) {
    printTable(
      [
        { title: 'class', value: (row) => row.classId },
        { title: 'goes to', value: (row) => `${row.variantId} on ${row.deviceId}` },
        { title: 'rate', value: (row) => showNumber(row.ratePerS, '/s', 3), align: 'right' },
        { title: 'quality', value: (row) => showNumber(row.quality, '', 3), align: 'right' },
        { title: 'energy', value: (row) => showNumber(row.energyJ, 'J', 2), align: 'right' },
        { title: 'latency', value: (row) => showNumber(row.latencyMs, 'ms', 0), align: 'right' },
      ],
      plan.routing,
    );
  }
  if (plan.status === 'infeasible') for (const line of plan.explanation) printLine(line);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as unknown;
  } catch (cause) {
    throw new FleetError('budget.invalid', `${file} cannot be read as JSON: ${messageOf(cause)}`, {
      hint: '`fleetgate budget show --json` prints a pattern',
      cause,
    });
  }
}

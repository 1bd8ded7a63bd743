import type { Budgets, BurnDownView, ClassBudget, PlanView } from '@fleetgate/shared/api/operations';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { type Bound, bound, given } from './budget-bounds.js';
import { printBurnDown, registerUsage } from './budget-usage.js';
import { printJson, printLine, printTable, showBytes } from './output.js';
import { printOutcome } from './plan-outcome.js';

interface BudgetOptions extends ConnectOptions {
  readonly json?: boolean;
}

interface SetOptions extends BudgetOptions {
  readonly power?: Bound;
  readonly variants?: Bound;
  readonly move?: Bound;
  readonly class?: string;
  readonly energy?: Bound;
  readonly latency?: Bound;
  readonly served?: Bound;
  readonly replicas?: Bound;
  readonly weight?: Bound;
}

export function registerBudget(program: Command): void {
  const budget = program.command('budget').description('see and set budgets');
  withConnection(budget.command('show', { isDefault: true }).description('the budgets in force')).action(show);
  withConnection(
    budget
      .command('set')
      .description('change some budgets and say what plan they come to, or what conflicts')
      .option('--power <watts|none>', 'mean power of the whole fleet, idle included', bound)
      .option('--variants <n|none>', 'distinct variants served at once', bound)
      .option('--move <bytes|none>', 'bytes that one plan change may newly load', bound)
      .option(
        '--class <name>',
        'the options below are for this prompt class alone (default: for all without their own)',
      )
      .option('--energy <joules|none>', 'mean energy of a request above idle', bound)
      .option('--latency <ms>', 'mean latency of a request', bound)
      .option('--served <ratio>', 'share of the demand that has to be served, 0 to 1', bound)
      .option('--replicas <n>', 'devices that must host a fitting variant', bound)
      .option('--weight <w>', 'weight of the class in the objective', bound),
  ).action(set);
  registerUsage(budget);
}

async function show(options: BudgetOptions): Promise<void> {
  const client = new ApiClient(options);
  const budgets = await client.get<Budgets>('/api/v1/budgets');
  if (options.json === true) return printJson(budgets);
  print(budgets);
  printBurnDown(await client.get<BurnDownView>('/api/v1/budgets/burn-down'));
}

async function set(options: SetOptions): Promise<void> {
  const client = new ApiClient(options);
  const before = await client.get<Budgets>('/api/v1/budgets');
  const changed = withChanges(before, options);
  if (JSON.stringify(changed) === JSON.stringify(before)) {
    throw new FleetError('usage.invalid', 'budget set: nothing to change', {
      hint: 'see `fleetgate budget set --help`',
    });
  }
  const budgets = await client.put<Budgets>('/api/v1/budgets', changed);
  if (options.json === true) return printJson(budgets);
  print(budgets);
  printLine();
  await tellOutcome(client, budgets);
}

/** Asks what plan the budgets come to; the controller puts one in force by itself. */
async function tellOutcome(client: ApiClient, budgets: Budgets): Promise<void> {
  try {
    const plan = await client.post<PlanView>('/api/v1/plans/propose', { budgets });
    if (plan.state === 'rejected') printLine('no plan meets these budgets: the plan in force stays');
    printOutcome(plan);
  } catch (error) {
    if (!isFleetError(error, 'dispatch.no-plan')) throw error;
    printLine('kept for the first plan: there is no device yet that could host an expert');
  }
}

function withChanges(budgets: Budgets, options: SetOptions): object {
  const { power, variants, move, energy, latency, served, replicas, weight } = options;
  const entry = given({ energyJ: energy, latencyMeanMs: latency, minServed: served, minReplicas: replicas, weight });
  const fleet = given({ fleetPowerW: power, maxVariants: variants, moveBytes: move });
  const name = options.class;
  if (name === undefined) return { ...budgets, ...fleet, defaultClass: { ...budgets.defaultClass, ...entry } };
  return { ...budgets, ...fleet, classes: { ...budgets.classes, [name]: { ...budgets.classes[name], ...entry } } };
}

function print(budgets: Budgets): void {
  const { fleetPowerW, maxVariants, moveBytes, defaultClass, classes } = budgets;
  printLine(`fleet power  ${fleetPowerW === null ? 'no bound' : `${fleetPowerW} W`}`);
  printLine(`variants     ${maxVariants ?? 'no bound'}`);
  printLine(`move         ${moveBytes === null ? 'no bound' : showBytes(moveBytes)}`);
  printLine();
  const rows: readonly (readonly [string, ClassBudget])[] = [
    ['(all others)', defaultClass],
    ...Object.entries(classes).map(([name, entry]) => [name, { ...defaultClass, ...entry }] as const),
  ];
  printTable(
    [
      { title: 'class', value: ([name]) => name },
      { title: 'latency', value: ([, row]) => `${row.latencyMeanMs} ms`, align: 'right' },
      { title: 'energy', value: ([, row]) => (row.energyJ === null ? 'no bound' : `${row.energyJ} J`), align: 'right' },
      { title: 'served', value: ([, row]) => `${Math.round(100 * row.minServed)} %`, align: 'right' },
      { title: 'replicas', value: ([, row]) => String(row.minReplicas), align: 'right' },
      { title: 'weight', value: ([, row]) => String(row.weight), align: 'right' },
    ],
    rows,
  );
}

/** Budgets of what may be used within an hour or a day, and of batteries; and what is used of them. */
import type { Budgets, BurnDownView, UsageBurnDown } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { type Command, Option } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { type Bound, bound, given } from './budget-bounds.js';
import { printJson, printLine, printTable } from './output.js';

interface LimitOptions extends ConnectOptions {
  readonly json?: boolean;
  readonly per: 'hour' | 'day';
  readonly device?: string;
  readonly class?: string;
  readonly tenant?: string;
  readonly energy?: Bound;
  readonly busy?: Bound;
  readonly calls?: Bound;
}
interface BatteryOptions extends ConnectOptions {
  readonly json?: boolean;
  readonly capacity: Bound;
  readonly reserve: Bound;
  readonly hours: Bound;
}

export function registerUsage(budget: Command): void {
  withConnection(
    budget
      .command('limit')
      .argument('<id>', 'name of the budget')
      .description('bound what may be used within an hour or a day')
      .addOption(new Option('--per <window>', 'window').choices(['hour', 'day']).default('day'))
      .option('--device <id>', 'of one device (default: the whole fleet)')
      .option('--class <name>', 'of one prompt class')
      .option('--tenant <name>', 'of one tenant: of a key, or `user` of an OpenAI request')
      .option('--energy <joules|none>', 'energy of requests above idle', bound)
      .option('--busy <ms|none>', 'time that devices work on requests', bound)
      .option('--calls <n|none>', 'jobs sent to devices', bound),
  ).action(limit);
  withConnection(
    budget
      .command('battery')
      .argument('<device>', 'device on a battery')
      .description('make a charge last: how long, and what is kept in reserve')
      .requiredOption('--capacity <joules>', 'energy of a full charge (1 Wh is 3600 J)', bound)
      .option('--reserve <ratio>', 'share of the charge below which the device is not asked, 0 to 1', bound, 0.2)
      .option('--hours <n>', 'time that a full charge has to last', bound, 8),
  ).action(battery);
  withConnection(
    budget.command('remove').argument('<id>', 'usage budget, or device of a battery budget').description('remove one'),
  ).action(remove);
}

async function limit(id: string, options: LimitOptions): Promise<void> {
  const { per, device, tenant, energy, busy, calls } = options;
  const bounds = given({ energyJ: energy, busyMs: busy, calls });
  const of = Object.entries({ device, class: options.class, tenant }).filter(([, value]) => value !== undefined);
  await change(options, (budgets) => ({
    ...budgets,
    usage: [...(budgets.usage ?? []).filter((one) => one.id !== id), { id, per, ...Object.fromEntries(of), ...bounds }],
  }));
}

async function battery(device: string, options: BatteryOptions): Promise<void> {
  const { capacity, reserve, hours } = options;
  const one = { device, capacityJ: capacity, reserveRatio: reserve, hours };
  await change(options, (budgets) => ({
    ...budgets,
    batteries: [...(budgets.batteries ?? []).filter((other) => other.device !== device), one],
  }));
}

async function remove(id: string, options: ConnectOptions & { readonly json?: boolean }): Promise<void> {
  await change(options, (budgets) => {
    const usage = (budgets.usage ?? []).filter((one) => one.id !== id);
    const batteries = (budgets.batteries ?? []).filter(({ device }) => device !== id);
    const before = (budgets.usage ?? []).length + (budgets.batteries ?? []).length;
    if (usage.length + batteries.length === before) {
      throw new FleetError('usage.invalid', `budget remove: there is no budget ${JSON.stringify(id)}`, {
        hint: '`fleetgate budget show` lists them',
      });
    }
    return { ...budgets, usage, batteries };
  });
}

async function change(
  options: ConnectOptions & { readonly json?: boolean },
  changed: (budgets: Budgets) => object,
): Promise<void> {
  const client = new ApiClient(options);
  const budgets = await client.put<Budgets>('/api/v1/budgets', changed(await client.get<Budgets>('/api/v1/budgets')));
  if (options.json === true) return printJson(budgets);
  printBurnDown(await client.get<BurnDownView>('/api/v1/budgets/burn-down'));
}

/** What is used of the budgets, and which bounds make things cost something now. */
export function printBurnDown({ usage, queues }: BurnDownView): void {
  if (usage.length > 0) {
    printLine();
    printTable(
      [
        { title: 'usage budget', value: ({ id }) => id },
        { title: 'of', value: scopeOf },
        { title: 'per', value: ({ per }) => per },
        { title: 'used', value: usedOf, align: 'right' },
        { title: 'even pace', value: ({ paceJ }) => (paceJ === null ? '' : `${short(paceJ)} J`), align: 'right' },
        { title: 'state', value: ({ state }) => state },
        { title: 'until', value: ({ windowEndMs }) => new Date(windowEndMs).toISOString() },
      ],
      usage,
    );
  }
  const costly = queues.filter(({ price }) => price > LEAST_PRICE);
  if (costly.length === 0) return;
  printLine();
  printTable(
    [
      { title: 'bound', value: ({ bound: of }) => of },
      { title: 'of', value: ({ of }) => of ?? 'fleet' },
      { title: 'limit', value: ({ limit: most, unit }) => `${short(most)} ${unit}`, align: 'right' },
      { title: 'beyond it', value: ({ backlog, backlogUnit }) => `${short(backlog)} ${backlogUnit}`, align: 'right' },
      { title: 'price', value: ({ price }) => short(price), align: 'right' },
    ],
    costly,
  );
}

/** Of the quality scale, 0..1: what costs less makes no difference to anybody. */
const LEAST_PRICE = 1e-4;

const short = (value: number): string => String(Number(value.toPrecision(4)));

function scopeOf({ device, class: ofClass, tenant }: UsageBurnDown): string {
  if (device !== undefined) return `device ${device}`;
  if (ofClass !== undefined) return `class ${ofClass}`;
  return tenant === undefined ? 'fleet' : `tenant ${tenant}`;
}

function usedOf({ used, energyJ, busyMs, calls }: UsageBurnDown): string {
  const parts = [
    ...(typeof energyJ === 'number' ? [`${short(used.energyJ)} of ${short(energyJ)} J`] : []),
    ...(typeof busyMs === 'number' ? [`${short(used.busyMs)} of ${short(busyMs)} ms`] : []),
    ...(typeof calls === 'number' ? [`${used.calls} of ${calls} calls`] : []),
  ];
  return parts.join(', ');
}

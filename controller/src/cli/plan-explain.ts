import type { CurveView, ExplanationView, PlanConstraint } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { type Command, Option } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { printJson, printLine, printTable, showNumber, styled } from './output.js';
import { activePlanId, getPlan } from './plan-client.js';
import { printOutcome } from './plan-outcome.js';

interface ExplainOptions extends ConnectOptions {
  readonly json?: boolean;
  readonly curve?: CurveView['of'];
  readonly swap?: string;
  readonly device?: string;
}

export function registerPlanExplain(plan: Command): void {
  withConnection(
    plan
      .command('explain')
      .description('why the plan is as it is, and what more of a budget would be worth; solves again for up to 10 s')
      .argument('[id]')
      .addOption(
        new Option(
          '--curve <budget>',
          'quality against watts, or against all latency bounds times a factor, instead',
        ).choices(['power', 'latency']),
      )
      .option('--swap <device:variant:variant>', 'what the second variant there instead of the first would cost')
      .option('--device <id>', 'why this device is off, or what it is on for'),
  ).action(explain);
}

async function explain(id: string | undefined, options: ExplainOptions): Promise<void> {
  const client = new ApiClient(options);
  const wanted = id ?? (await activePlanId(client));
  if (wanted === null) throw noPlan();
  const { curve, swap, device } = options;
  const asked = Object.entries({ curve, swap, device }).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(asked.length === 0 ? { overview: 'true' } : (asked as [string, string][]));
  const view = await client.get<ExplanationView>(
    `/api/v1/plans/${encodeURIComponent(wanted)}/explain?${query.toString()}`,
  );
  if (options.json === true) return printJson(view);
  if (asked.length === 0) await printOverview(client, view);
  if (view.device !== undefined) printLine(view.device.text);
  if (view.swap !== undefined) printLine(view.swap.text);
  if (view.curve !== undefined) printCurve(view.curve);
}

async function printOverview(client: ApiClient, view: ExplanationView): Promise<void> {
  const plan = await getPlan(client, view.id);
  printOutcome(plan);
  const gainful = view.prices?.filter(({ best }) => best !== null);
  printSection('worth', gainful?.length === 0 ? [{ text: 'More of what binds buys nothing.' }] : gainful);
  printSection('off', view.off);
  printSection('nearest swaps', view.swaps);
  if (plan.constraints.length === 0) return;
  printLine();
  printTable(
    [
      { title: 'bound', value: (row: PlanConstraint) => row.group },
      { title: 'of', value: (row) => row.subject || '(fleet)' },
      { title: 'used', value: (row) => showNumber(row.used, '', 2), align: 'right' },
      { title: 'limit', value: (row) => showNumber(row.limit, row.unit, 2), align: 'right' },
      { title: 'binds', value: (row) => (row.binding ? 'yes' : '') },
      {
        title: 'price, for small changes',
        value: (row) => (row.price === null ? '' : `${row.price.toFixed(2)} points/${row.unit}`),
      },
    ],
    plan.constraints,
  );
}

function printSection(title: string, rows: readonly { readonly text: string }[] | undefined): void {
  if (rows === undefined || rows.length === 0) return;
  printLine();
  printLine(styled('bold', title));
  for (const { text } of rows) printLine(`  ${text}`);
}

function printCurve(curve: CurveView): void {
  printLine(curve.text);
  if (curve.points.length === 0) return;
  printLine();
  const best = curve.points.at(-1)?.objective ?? 0;
  printTable(
    [
      { title: curve.of, value: (row) => showNumber(row.value, curve.unit === 'W' ? 'W' : 'x', 3), align: 'right' },
      { title: 'quality', value: (row) => showNumber(row.objective), align: 'right' },
      { title: 'at most', value: (row) => showNumber(row.bound), align: 'right' },
      { title: '', value: (row) => '#'.repeat(Math.round((40 * row.objective) / Math.max(1e-9, best))) },
    ],
    curve.points,
  );
}

function noPlan(): FleetError {
  return new FleetError('plan.unknown', 'no plan is active yet', {
    hint: '`fleetgate devices` shows what each device is doing',
  });
}

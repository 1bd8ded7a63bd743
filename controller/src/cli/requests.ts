import type { ListBody, RequestView } from '@fleetgate/shared/api/operations';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { limitOption } from './options.js';
import { printJson, printLine, printTable, showAge, showBytes, showNumber, styled } from './output.js';

interface RequestsOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface ListOptions extends RequestsOptions {
  readonly limit: number;
}

export function registerRequests(program: Command): void {
  const requests = program.command('requests').description('see requests and why they went where they went');
  withConnection(
    requests
      .command('list', { isDefault: true })
      .description('the newest requests')
      .option('--limit <n>', 'how many, 1 to 1000', limitOption, 20),
  ).action(list);
  withConnection(requests.command('show').description('the decision record of one request').argument('<id>')).action(
    show,
  );
}

async function list(options: ListOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<RequestView>>(`/api/v1/requests?limit=${options.limit}`);
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no requests yet; try `fleetgate chat "What is 2 + 2?"`');
  printTable(
    [
      { title: 'request', value: (row) => row.id },
      { title: 'came', value: (row) => showAge(row.receivedAtMs, Date.now()) },
      { title: 'state', value: (row) => row.state },
      { title: 'mode', value: (row) => row.mode },
      { title: 'class', value: (row) => row.classId ?? '-' },
      { title: 'expert', value: (row) => row.expertId ?? '-' },
      { title: 'device', value: (row) => row.deviceId ?? '-' },
      { title: 'latency', value: (row) => showNumber(row.actual?.latencyMs, 'ms', 0), align: 'right' },
      { title: 'energy', value: (row) => showNumber(row.actual?.energyJ, 'J', 2), align: 'right' },
      { title: 'error', value: (row) => row.error?.code ?? '' },
    ],
    body.items,
  );
}

async function show(id: string, options: RequestsOptions): Promise<void> {
  const record = await new ApiClient(options).get<RequestView>(`/api/v1/requests/${encodeURIComponent(id)}`);
  if (options.json === true) return printJson(record);
  printLine(`${styled('bold', record.id)}  ${record.state}, model ${record.model}, plan ${record.planId ?? '-'}`);
  printLine(record.why);
  if (record.novelty !== undefined) printLine(`novelty    ${record.novelty.toFixed(2)} (0: like the training data)`);
  const { predicted, actual, error } = record;
  if (predicted !== null)
    printLine(`predicted  ${showNumber(predicted.latencyMs, 'ms', 0)}, ${showNumber(predicted.energyJ, 'J', 2)}`);
  if (actual !== null) {
    printLine(
      `actual     ${showNumber(actual.latencyMs, 'ms', 0)} (first token ${showNumber(actual.ttftMs, 'ms', 0)}), ` +
        `${showNumber(actual.energyJ, 'J', 2)} ${actual.energySource}, ` +
        `${actual.promptTokens} + ${actual.outputTokens} tokens`,
    );
  }
  if (actual?.slabs !== undefined) {
    const { hitRatio, readBytes, waitMs, floorMs } = actual.slabs;
    const tokens = Math.max(1, actual.promptTokens + actual.outputTokens);
    const read = readBytes === undefined ? '' : `, ${showBytes(readBytes / tokens)} a token read from storage`;
    const floor = floorMs === undefined ? '' : ` (reading takes ${showNumber(floorMs, 'ms', 0)} at least)`;
    printLine(
      `slabs      ${Math.round(100 * hitRatio)} % in memory${read}, ${showNumber(waitMs, 'ms', 0)} waited${floor}`,
    );
  }
  if (error !== null) printLine(`${styled('red', error.code)}  ${error.message}`);
  for (const { deviceId, variantId, outcome } of record.attempts) {
    printLine(`attempt    ${variantId} on ${deviceId}: ${outcome}`);
  }
  printCalls(record);
  if (record.candidates.length === 0) return;
  printLine();
  printTable(
    [
      { title: '', value: (row) => (row.chosen ? '*' : '') },
      { title: 'variant', value: (row) => row.variantId },
      { title: 'device', value: (row) => row.deviceId ?? '-' },
      { title: 'quality', value: (row) => `${row.quality.toFixed(3)} ± ${row.qualitySd.toFixed(3)}`, align: 'right' },
      { title: 'latency', value: (row) => showNumber(row.latencyMs, 'ms', 0), align: 'right' },
      { title: 'energy', value: (row) => showNumber(row.energyJ, 'J', 2), align: 'right' },
      { title: 'value', value: (row) => showNumber(row.value, '', 3), align: 'right' },
      { title: 'excluded', value: (row) => row.excluded ?? '' },
    ],
    record.candidates,
  );
}

/** What each of several experts was asked, and what it cost. */
function printCalls({ collaboration, callOf }: RequestView): void {
  if (callOf !== undefined) printLine(`one call of ${callOf}`);
  if (collaboration === undefined) return;
  printLine();
  printTable(
    [
      { title: collaboration.how, value: (row) => row.role },
      { title: 'variant', value: (row) => row.variantId },
      { title: 'device', value: (row) => row.deviceId ?? '-' },
      { title: 'quality', value: (row) => row.quality.toFixed(3), align: 'right' },
      { title: 'weight', value: (row) => showNumber(row.weight, '', 3), align: 'right' },
      { title: 'log-prob', value: (row) => showNumber(row.meanLogProb, '', 2), align: 'right' },
      { title: 'latency', value: (row) => showNumber(row.latencyMs, 'ms', 0), align: 'right' },
      { title: 'energy', value: (row) => showNumber(row.energyJ, 'J', 2), align: 'right' },
      { title: 'outcome', value: (row) => row.outcome },
    ],
    collaboration.calls,
  );
}

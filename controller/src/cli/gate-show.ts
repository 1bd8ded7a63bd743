import type { GateView } from '@fleetgate/shared/api/operations';

import { ApiClient, type ConnectOptions } from './api-client.js';
import { printJson, printLine, printTable, showAge, showNumber, styled } from './output.js';

/** `gate show`: the gate of a running controller. */
export async function showGate(options: ConnectOptions & { readonly json?: boolean }): Promise<void> {
  const view = await new ApiClient(options).get<GateView>('/api/v1/gate');
  if (options.json === true) return printJson(view);
  printState(view);
  printLine();
  printTable(
    [
      { title: 'expert', value: (row) => row.id },
      { title: 'scored', value: (row) => (row.isTrained ? 'by the gate' : 'from its card') },
      { title: 'home', value: (row) => row.home ?? '-' },
      { title: 'DSI', value: (row) => showNumber(row.dsi, '', 3), align: 'right' },
      { title: 'GG', value: (row) => showNumber(row.gg, '', 3), align: 'right' },
      { title: 'CDTR', value: (row) => showNumber(row.cdtr, '', 3), align: 'right' },
    ],
    view.experts,
  );
  printLine();
  printTable(
    [
      { title: 'class', value: (row) => row.label },
      { title: 'trained', value: (row) => percent(row.trainedShare), align: 'right' },
      { title: 'traffic', value: (row) => percent(row.liveShare), align: 'right' },
      { title: 'expert', value: (row) => row.id },
      { title: 'quality', value: (row) => `${row.quality.toFixed(3)} ± ${row.sd.toFixed(3)}`, align: 'right' },
      { title: 'over general', value: (row) => `${row.gain < 0 ? '' : '+'}${row.gain.toFixed(3)}`, align: 'right' },
      { title: 'energy', value: (row) => showNumber(row.energyJ, 'J', 2), align: 'right' },
      { title: 'latency', value: (row) => showNumber(row.latencyMs, 'ms', 0), align: 'right' },
      { title: 'chosen', value: (row) => String(row.chosen), align: 'right' },
    ],
    view.classes.flatMap(({ label, trainedShare, liveShare, experts }) =>
      experts.map((expert) => ({ label, trainedShare, liveShare, ...expert })),
    ),
  );
  printFollowed(view.classes);
}

/** What traffic has shown of the classes: those that were found in it, and how far the others have moved. */
function printFollowed(classes: GateView['classes']): void {
  const rows = classes.flatMap(({ id, label, followed }) => (followed === null ? [] : [{ id, label, ...followed }]));
  if (rows.length === 0) return;
  printLine();
  printTable(
    [
      { title: 'class', value: (row) => row.id },
      { title: 'label', value: (row) => row.label },
      {
        title: 'origin',
        value: (row) => (row.origin === 'found' ? `found ${showAge(row.sinceMs, Date.now())}` : 'trained'),
      },
      { title: 'prompts', value: (row) => String(row.seen), align: 'right' },
      { title: 'moved', value: (row) => `${row.movedDeg.toFixed(1)}°`, align: 'right' },
    ],
    rows,
  );
}

function printState({ state, why, trainedOn, traffic }: GateView): void {
  const shown = state === 'degraded' ? styled('yellow', 'degraded: uniform gate') : state;
  printLine(`${shown}${trainedOn > 0 ? `, trained on ${trainedOn} prompts` : ''}${why === null ? '' : `: ${why}`}`);
  const { requests, sinceMs, psi, verdict, novel, meanNovelty, abstained } = traffic;
  if (requests === 0 || sinceMs === null) return printLine('no requests yet');
  printLine(
    `newest ${requests} requests, the first ${showAge(sinceMs, Date.now())}: ${abstained} without a prediction`,
  );
  printLine(`classes against training: ${verdict ?? 'too few requests to tell'} (PSI ${showNumber(psi, '', 3)})`);
  printLine(`unlike the training data: ${percent(novel)} of prompts, mean novelty ${showNumber(meanNovelty, '', 2)}`);
}

function percent(share: number | null): string {
  return share === null ? '-' : `${(100 * share).toFixed(0)} %`;
}

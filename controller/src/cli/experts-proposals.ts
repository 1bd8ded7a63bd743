import type { ListBody } from '@fleetgate/shared/api/operations';
import type { ProposalView } from '@fleetgate/shared/api/proposals';
import type { RolloutView } from '@fleetgate/shared/api/rollouts';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { printJson, printLine, printTable, showBytes } from './output.js';

interface ProposalsOptions extends ConnectOptions {
  readonly json?: boolean;
}

/** Adds `experts proposals` and `accept`: what devices are asked proposes what they keep of a mixture. */
export function registerProposals(experts: Command): void {
  withConnection(
    experts
      .command('proposals')
      .description(
        'slabs of mixtures that devices could do without, by what they were asked, and what that was seen to cost',
      ),
  ).action(list);
  withConnection(
    experts
      .command('accept')
      .description('make a proposal a variant and roll it out to its class of devices')
      .argument('<proposal>', 'as `experts proposals` shows it'),
  ).action(accept);
}

async function list(options: ProposalsOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<ProposalView>>('/api/v1/proposals');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) {
    return printLine(
      'no proposals: they are made of mixtures with part of their slabs in memory, after some thousand tokens',
    );
  }
  printTable(
    [
      { title: 'proposal', value: (row) => row.id },
      { title: 'slabs', value: (row) => `${row.slabs}/${row.of}`, align: 'right' },
      { title: 'of choices', value: (row) => `${(100 * row.covered).toFixed(1)} %`, align: 'right' },
      {
        title: 'saves',
        value: (row) => (row.savedBytes < 0 ? `-${showBytes(-row.savedBytes)}` : showBytes(row.savedBytes)),
        align: 'right',
      },
      {
        title: 'quality lost',
        value: (row) => (row.lostQuality === null ? '-' : row.lostQuality.toFixed(4)),
        align: 'right',
      },
      { title: 'prompts', value: (row) => String(row.prompts), align: 'right' },
      { title: 'state', value: (row) => row.state },
    ],
    body.items,
  );
}

async function accept(id: string, options: ProposalsOptions): Promise<void> {
  const rollout = await new ApiClient(options).post<RolloutView>(
    `/api/v1/proposals/${encodeURIComponent(id)}/accept`,
    {},
  );
  if (options.json === true) return printJson(rollout);
  printLine(`rollout ${rollout.id} began; \`fleetgate rollouts show ${rollout.id}\` tells how it goes`);
}

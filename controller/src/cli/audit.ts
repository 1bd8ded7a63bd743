import type { ActorView, AuditBody, AuditView } from '@fleetgate/shared/api/access';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { limitOption, numberOption } from './options.js';
import { printJson, printLine, printNote, printTable } from './output.js';

interface AuditOptions extends ConnectOptions {
  readonly json?: boolean;
  readonly limit: number;
  readonly before?: number;
}

export function registerAudit(program: Command): void {
  withConnection(
    program
      .command('audit')
      .description('who changed what, and what was refused for want of a scope, newest first')
      .option('--limit <n>', 'how many, 1 to 1000', limitOption, 50)
      .option('--before <number>', 'only those of smaller numbers', numberOption),
  ).action(audit);
}

async function audit({ limit, before, ...options }: AuditOptions): Promise<void> {
  const from = before === undefined ? '' : `&before=${before}`;
  const body = await new ApiClient(options).get<AuditBody>(`/api/v1/audit?limit=${limit}${from}`);
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('nothing has been changed');
  printTable(
    [
      { title: 'number', value: (row) => String(row.id), align: 'right' },
      { title: 'when', value: (row) => new Date(row.atMs).toISOString().slice(0, 19).replace('T', ' ') },
      { title: 'who', value: (row) => showActor(row.actor) },
      { title: 'from', value: (row) => row.address },
      { title: 'what', value: (row) => row.action },
      { title: 'of', value: (row) => row.target ?? '-' },
      { title: 'outcome', value: (row) => row.outcome },
      { title: 'change', value: showChange },
    ],
    body.items,
  );
  if (body.next !== null) printNote(`older ones: --before ${body.next}`);
}

function showActor({ kind, id, label }: ActorView): string {
  return id === undefined ? kind : `${label ?? ''} (${id})`;
}

function showChange({ before, after }: AuditView): string {
  if (before === undefined && after === undefined) return '';
  return [before, after].map((value) => (value === undefined ? '' : JSON.stringify(value))).join(' -> ');
}

import { type KeyView, type NewKeyView, type Scope, SCOPES } from '@fleetgate/shared/api/access';
import type { ListBody } from '@fleetgate/shared/api/operations';
import { type Command, InvalidArgumentError } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { printJson, printLine, printNote, printTable, showAge } from './output.js';

interface KeysOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface CreateOptions extends KeysOptions {
  readonly scopes: readonly Scope[];
  readonly tenant?: string;
  readonly expires?: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000 };

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('make, see and revoke API keys');
  withConnection(keys.command('list', { isDefault: true }).description('all keys, without their secrets')).action(list);
  withConnection(
    keys
      .command('create')
      .description('make a key; its text is shown this once')
      .argument('<label>', 'what it is for')
      .requiredOption('--scopes <list>', `what it may do, of ${SCOPES.join(',')}`, scopesOption)
      .option('--tenant <name>', 'whom its requests count for (default: whom their field `user` names)')
      .option('--expires <when>', 'a time from now such as 12h or 30d, or a date (default: never)', expiresOption),
  ).action(create);
  withConnection(
    keys
      .command('revoke')
      .description('have a key open nothing from now on; what it has open ends')
      .argument('<id>', 'as `keys list` shows it'),
  ).action(revoke);
}

async function list(options: KeysOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<KeyView>>('/api/v1/keys');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no keys; `fleetgate keys create LABEL --scopes infer` makes one');
  printTable(
    [
      { title: 'id', value: (row) => row.id },
      { title: 'label', value: (row) => row.label },
      { title: 'tenant', value: (row) => row.tenant ?? '-' },
      { title: 'scopes', value: (row) => row.scopes.join(',') },
      { title: 'state', value: (row) => row.state },
      { title: 'made', value: (row) => showAge(row.createdAtMs, Date.now()) },
      { title: 'expires', value: (row) => (row.expiresAtMs === null ? 'never' : showDate(row.expiresAtMs)) },
      { title: 'used', value: (row) => showAge(row.lastUsedAtMs, Date.now()) },
    ],
    body.items,
  );
}

async function create(label: string, { scopes, tenant, expires, ...options }: CreateOptions): Promise<void> {
  const made = await new ApiClient(options).post<NewKeyView>('/api/v1/keys', {
    ...{ label, scopes },
    tenant: tenant ?? null,
    expiresAtMs: expires ?? null,
  });
  if (options.json === true) return printJson(made);
  printLine(made.key);
  const end = made.expiresAtMs === null ? 'does not expire' : `expires on ${showDate(made.expiresAtMs)}`;
  printNote(`key ${made.id} may ${made.scopes.join(', ')} and ${end}; it is not shown again`);
}

async function revoke(id: string, options: KeysOptions): Promise<void> {
  await new ApiClient(options).delete(`/api/v1/keys/${encodeURIComponent(id)}`);
  if (options.json === true) return printJson({ revoked: id });
  printLine(`${id} is revoked`);
}

function scopesOption(text: string): readonly Scope[] {
  const names = text.split(',').map((name) => name.trim());
  const scopes = SCOPES.filter((scope) => names.includes(scope));
  if (names.every((name) => scopes.some((scope) => scope === name))) return scopes;
  throw new InvalidArgumentError(`expected some of ${SCOPES.join(', ')}, with commas between.`);
}

/** Unix ms. That it is to come, the controller checks by its own clock. */
function expiresOption(text: string): number {
  const [, count, unit = ''] = /^(\d{1,5})([hd])$/.exec(text) ?? [];
  const at = count === undefined ? Date.parse(text) : Date.now() + Number(count) * (UNIT_MS[unit] ?? Number.NaN);
  if (Number.isFinite(at)) return at;
  throw new InvalidArgumentError('expected a time from now such as 12h or 30d, or a date such as 2030-01-31.');
}

function showDate(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 16).replace('T', ' ');
}

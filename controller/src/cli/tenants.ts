import type { TenantLimits, TenantView } from '@fleetgate/shared/api/access';
import type { ListBody } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { numberOption } from './options.js';
import { printJson, printLine, printTable } from './output.js';

interface TenantsOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface LimitOptions extends TenantsOptions {
  readonly requests?: number | 'none';
  readonly tokens?: number | 'none';
}

export function registerTenants(program: Command): void {
  const tenants = program.command('tenants').description('see and limit what tenants may ask within a minute');
  withConnection(tenants.command('list', { isDefault: true }).description('tenants with limits or keys')).action(list);
  withConnection(
    tenants
      .command('limit')
      .description('set limits of a tenant; those that are not named stay')
      .argument('<name>', 'of the tenant, as its keys or the field `user` of requests have it')
      .option('--requests <n|none>', 'requests a minute', perMinute)
      .option('--tokens <n|none>', 'tokens of answers a minute', perMinute),
  ).action(limit);
}

async function list(options: TenantsOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<TenantView>>('/api/v1/tenants');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no tenant has limits or keys');
  print(body.items);
}

async function limit(name: string, { requests, tokens, ...options }: LimitOptions): Promise<void> {
  if (requests === undefined && tokens === undefined) {
    throw new FleetError('usage.invalid', 'tenants limit: nothing to set', {
      hint: 'give --requests N|none, --tokens N|none, or both',
    });
  }
  const client = new ApiClient(options);
  const { items } = await client.get<ListBody<TenantView>>('/api/v1/tenants');
  const known = items.find((one) => one.name === name);
  const limits = await client.put<TenantLimits>(`/api/v1/tenants/${encodeURIComponent(name)}`, {
    requestsPerMinute: limitOf(requests, known?.requestsPerMinute),
    outputTokensPerMinute: limitOf(tokens, known?.outputTokensPerMinute),
  });
  if (options.json === true) return printJson({ name, ...limits });
  print([{ name, ...limits, keys: known?.keys ?? 0 }]);
}

/** `none` stays a word: commander takes a null for an option without a value. */
function perMinute(text: string): number | 'none' {
  return text === 'none' ? text : numberOption(text);
}

function limitOf(asked: number | 'none' | undefined, known: number | null | undefined): number | null {
  if (asked === undefined) return known ?? null;
  return asked === 'none' ? null : asked;
}

function print(tenants: readonly TenantView[]): void {
  const show = (limited: number | null): string => (limited === null ? 'no limit' : `${limited}/min`);
  printTable(
    [
      { title: 'tenant', value: (row) => row.name },
      { title: 'requests', value: (row) => show(row.requestsPerMinute), align: 'right' },
      { title: 'output tokens', value: (row) => show(row.outputTokensPerMinute), align: 'right' },
      { title: 'keys', value: (row) => String(row.keys), align: 'right' },
    ],
    tenants,
  );
}

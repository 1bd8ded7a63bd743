import type { JoinTokenView, ListBody, WaitingDeviceView } from '@fleetgate/shared/api/operations';
import { type Command, InvalidArgumentError } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { countOption } from './options.js';
import { printJson, printLine, printTable, showAge } from './output.js';

interface JoiningOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface TokenOptions extends JoiningOptions {
  readonly ttl: number;
  readonly uses: number;
}

/** Subcommands of `devices` for what is not in yet, and for what is to be out. */
export function registerJoining(devices: Command): void {
  withConnection(
    devices
      .command('join-token')
      .description('make a token by which devices join; it is shown once')
      .option('--ttl <time>', 'how long it is good: 90s, 30m, 12h or 7d', durationOption, 3600)
      .option('--uses <n>', 'how many devices it lets in', countOption, 1),
  ).action(joinToken);
  withConnection(devices.command('tokens').description('join tokens that have not run out')).action(tokens);
  withConnection(
    devices.command('pending').description('devices that wait to be let in (--approve-devices of the controller)'),
  ).action(pending);
  for (const [verdict, what] of [
    ['approve', 'let in a device that waits'],
    ['deny', 'turn away a device that waits'],
  ] as const) {
    withConnection(devices.command(verdict).description(what).argument('<name>')).action(
      (name: string, options: JoiningOptions) => decide(name, verdict, options),
    );
  }
  withConnection(
    devices
      .command('revoke')
      .description('end certificate, secret and connection of a device; it stays known until it is removed')
      .argument('<name>'),
  ).action(revoke);
}

async function joinToken(options: TokenOptions): Promise<void> {
  const { ttl: ttlS, uses } = options;
  const made = await new ApiClient(options).post<JoinTokenView>('/api/v1/join-tokens', { ttlS, uses });
  if (options.json === true) return printJson(made);
  printLine(made.token ?? '');
  printLine(`for ${uses} device${uses === 1 ? '' : 's'} until ${new Date(made.expiresAtMs).toISOString()}`);
}

async function tokens(options: JoiningOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<JoinTokenView>>('/api/v1/join-tokens');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no join tokens; `fleetgate devices join-token` makes one');
  printTable(
    [
      { title: 'token', value: ({ id }) => id },
      { title: 'uses left', value: ({ usesLeft }) => String(usesLeft), align: 'right' },
      { title: 'until', value: ({ expiresAtMs }) => new Date(expiresAtMs).toISOString() },
    ],
    body.items,
  );
}

async function pending(options: JoiningOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<WaitingDeviceView>>('/api/v1/enrolments');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no device waits');
  printTable(
    [
      { title: 'device', value: ({ name }) => name },
      { title: 'board', value: ({ board }) => board },
      { title: 'from', value: ({ address }) => address },
      { title: 'asked', value: ({ askedAtMs }) => showAge(askedAtMs, Date.now()) },
      { title: 'state', value: ({ state }) => state },
      { title: 'key', value: ({ keySha256 }) => keySha256 ?? '-' },
    ],
    body.items,
  );
}

async function decide(name: string, verdict: 'approve' | 'deny', options: JoiningOptions): Promise<void> {
  await new ApiClient(options).order(`/api/v1/enrolments/${encodeURIComponent(name)}/${verdict}`);
  if (options.json === true) printJson({ [verdict === 'approve' ? 'approved' : 'denied']: name });
  else printLine(verdict === 'approve' ? `${name} is let in when it asks again` : `${name} is turned away`);
}

async function revoke(name: string, options: JoiningOptions): Promise<void> {
  await new ApiClient(options).delete(`/api/v1/devices/${encodeURIComponent(name)}/credentials`);
  if (options.json === true) printJson({ revoked: name });
  else printLine(`${name} is out; \`fleetgate devices remove ${name}\` frees its name`);
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds. */
function durationOption(value: string): number {
  const [, count = '', unit = 's'] = /^(\d{1,6})([smhd])?$/.exec(value) ?? [];
  const seconds = Number(count) * (SECONDS[unit] ?? 1);
  if (count === '' || seconds < 1 || seconds > 30 * 86_400) {
    throw new InvalidArgumentError(`expected a time from 1s to 30d such as 90s, 30m, 12h or 7d, got ${value}.`);
  }
  return seconds;
}

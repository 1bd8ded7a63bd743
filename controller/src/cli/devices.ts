import type { CredentialsView, DeviceView, ListBody } from '@fleetgate/shared/api/operations';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { registerJoining } from './devices-joining.js';
import { printJson, printLine, printTable, showAge, showBytes, showNumber, styled } from './output.js';

interface DevicesOptions extends ConnectOptions {
  readonly json?: boolean;
}

export function registerDevices(program: Command): void {
  const devices = program.command('devices').description('see devices, let them in and put them out');
  withConnection(
    devices.command('list', { isDefault: true }).description('all devices and what they are doing'),
  ).action(list);
  withConnection(devices.command('show').description('one device in full').argument('<name>')).action(show);
  withConnection(
    devices.command('remove').description('take a device out of the fleet and cut it off').argument('<name>'),
  ).action(remove);
  registerJoining(devices);
}

async function list(options: DevicesOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<DeviceView>>('/api/v1/devices');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no devices; `fleetgate agent --help` says how one joins');
  printTable(
    [
      { title: 'device', value: (device) => device.id },
      { title: 'board', value: (device) => device.board },
      { title: 'state', value: (device) => (device.state === 'online' ? device.activity : device.state) },
      { title: 'last seen', value: (device) => showAge(device.lastSeenMs, Date.now()) },
      { title: 'power', value: powerOf, align: 'right' },
      { title: 'temp', value: (device) => showNumber(device.last.temperatureC, '°C', 0), align: 'right' },
      { title: 'memory', value: memoryOf, align: 'right' },
      { title: 'holds', value: (device) => residentOf(device).join(' ') || '-' },
    ],
    body.items,
  );
}

async function show(name: string, options: DevicesOptions): Promise<void> {
  const device = await new ApiClient(options).get<DeviceView>(`/api/v1/devices/${encodeURIComponent(name)}`);
  if (options.json === true) return printJson(device);
  const credentials = await new ApiClient(options).get<CredentialsView>(
    `/api/v1/devices/${encodeURIComponent(name)}/credentials`,
  );
  const { host, engine, power, governor } = device;
  const rows: readonly (readonly [string, string])[] = [
    ['board', `${device.boardTitle} (${device.board})`],
    ['state', `${device.state}, ${device.activity}, last seen ${showAge(device.lastSeenMs, Date.now())}`],
    [
      'host',
      host === null ? '-' : `${host.cpu}, ${host.cores} cores, ${showBytes(host.memoryBytes)}, ${host.os} ${host.arch}`,
    ],
    [
      'engine',
      engine === null ? '-' : `${engine.kind} ${engine.version}, ${engine.state} ${engine.reason ?? ''}`.trim(),
    ],
    [
      'power',
      power === null ? '-' : `${powerOf(device)}; idle ${power.idleW} W, load ${power.loadW} W (${power.from})`,
    ],
    ...settingsOf(device),
    ['memory', memoryOf(device)],
    ...(governor === null
      ? []
      : [['governor', `${Math.round(100 * governor.strain)} % strained: ${governor.reason}`] as const]),
    ['known by', knownBy(credentials)],
    ['generation', `${device.observedGeneration} of ${device.desiredGeneration}${device.settled ? ', settled' : ''}`],
  ];
  for (const [title, text] of rows) printLine(`${styled('bold', title.padEnd(11))} ${text}`);
  if (device.variants.length > 0) {
    printLine();
    printTable(
      [
        { title: 'variant', value: (variant) => variant.variantId },
        { title: 'residency', value: (variant) => variant.residency },
        {
          title: 'memory',
          value: (variant) => (variant.memoryBytes === undefined ? '-' : showBytes(variant.memoryBytes)),
        },
        { title: 'slabs', value: (variant) => slabsText(variant.slabs) },
        { title: 'error', value: (variant) => variant.error ?? '' },
      ],
      device.variants,
    );
  }
  if (device.measurements.length > 0) {
    printLine();
    printTable(
      [
        { title: 'measured', value: (measurement) => measurement.variantId },
        { title: 'prefill', value: (it) => showNumber(it.prefillTokensPerS, 'tok/s', 0), align: 'right' },
        { title: 'decode', value: (it) => showNumber(it.decodeTokensPerS, 'tok/s', 0), align: 'right' },
        { title: 'energy', value: (it) => showNumber(it.decodeJPerToken * 1000, 'mJ/tok'), align: 'right' },
        { title: 'source', value: (it) => it.energySource },
        { title: 'load', value: (it) => showNumber(it.loadMs, 'ms', 0), align: 'right' },
      ],
      device.measurements,
    );
  }
}

function knownBy({ state, certificates }: CredentialsView): string {
  const last = certificates.at(-1);
  if (state === 'revoked') return 'nothing any more: revoked';
  return last === undefined ? 'its secret' : `its certificate, until ${new Date(last.notAfterMs).toISOString()}`;
}

function slabsText(slabs: DeviceView['variants'][number]['slabs']): string {
  if (slabs === undefined) return '';
  const { strategy, slabsPerToken, hitRatio, readBytesPerToken, task, reason } = slabs;
  return [
    strategy,
    ...(slabsPerToken === undefined ? [] : [`${slabsPerToken} a token`]),
    ...(hitRatio === undefined ? [] : [`${(100 * hitRatio).toFixed(0)} % in memory`]),
    ...(readBytesPerToken === undefined ? [] : [`${showBytes(readBytesPerToken)} read a token`]),
    ...(task === undefined ? [] : [`last prompt: ${task}`]),
    `(${reason})`,
  ].join(', ');
}

async function remove(name: string, options: DevicesOptions): Promise<void> {
  await new ApiClient(options).delete(`/api/v1/devices/${encodeURIComponent(name)}`);
  if (options.json === true) printJson({ removed: name });
  else printLine(`${name} is no longer in the fleet`);
}

/** Power mode and governor, where the board says them. */
function settingsOf({ power }: DeviceView): readonly (readonly [string, string])[] {
  const mode = power?.mode === undefined ? [] : [`power mode ${power.mode}`];
  const governor = power?.cpuGovernor === undefined ? [] : [`governor ${power.cpuGovernor}`];
  const settings = [...mode, ...governor];
  return settings.length === 0 ? [] : [['settings', settings.join(', ')]];
}

function powerOf(device: DeviceView): string {
  const source = device.power?.source === 'modelled' ? ' modelled' : '';
  return device.last.powerW === undefined ? '-' : `${device.last.powerW.toFixed(1)} W${source}`;
}

function memoryOf({ memory }: DeviceView): string {
  return memory === null ? '-' : `${showBytes(memory.usedBytes)} of ${showBytes(memory.budgetBytes)}`;
}

function residentOf(device: DeviceView): readonly string[] {
  return device.variants.filter(({ residency }) => residency === 'resident').map(({ variantId }) => variantId);
}

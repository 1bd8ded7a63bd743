import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';

import { androidTermuxNetwork } from './android-termux-network.js';
import { areSame, conditionsOf } from './conditions.js';
import { linuxNetwork } from './linux-network.js';
import type { Reading } from './sensors.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fleetgate-network-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function tree(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
const route = (device: string, metric: number, destination = '00000000', mask = '00000000'): string =>
  `${device}\t${destination}\t0101A8C0\t0003\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`;

async function network(): Promise<Reading | undefined> {
  const read = await linuxNetwork(root).open();
  return read?.();
}

describe('the network of a Linux machine', () => {
  it.each([
    ['ethernet', 'eth0', { type: '1\n', 'device/uevent': '' }],
    ['wifi', 'wlan0', { type: '1\n', 'wireless/dummy': '', 'device/uevent': '' }],
    ['wifi', 'wlp2s0', { type: '1\n', 'phy80211/name': 'phy0', 'device/uevent': '' }],
    ['cellular', 'wwan0', { type: '1\n', uevent: 'DEVTYPE=wwan\nINTERFACE=wwan0\n', 'device/uevent': '' }],
    ['cellular', 'rmnet_data0', { type: '519\n' }],
    [undefined, 'tun0', { type: '65534\n' }],
    [undefined, 'br0', { type: '1\n' }],
  ])('is %s for %s', async (kind, device, files) => {
    await tree({
      'proc/net/route': HEAD + route(device, 100),
      ...Object.fromEntries(Object.entries(files).map(([path, text]) => [`sys/class/net/${device}/${path}`, text])),
    });
    expect(await network()).toEqual(kind === undefined ? {} : { network: kind });
  });

  it('is the one with the lowest metric, and routes to a part of the network are none', async () => {
    await tree({
      'proc/net/route':
        HEAD + route('wlan0', 600) + route('eth0', 100) + route('docker0', 0, '000011AC', '0000FFFF') + 'torn',
      'sys/class/net/wlan0/wireless/dummy': '',
      'sys/class/net/eth0/type': '1',
      'sys/class/net/eth0/device/uevent': '',
    });
    expect(await network()).toEqual({ network: 'ethernet' });
  });

  it('is not told without a default route, nor by a name that leads elsewhere', async () => {
    expect(await network()).toBeUndefined();
    await tree({ 'proc/net/route': HEAD });
    expect(await network()).toEqual({});
    await tree({ 'proc/net/route': HEAD + route('../../secret', 0) });
    expect(await network()).toEqual({});
  });
});

describe('the network of a phone', () => {
  it('is Wi-Fi when that is connected, and asked for rarely', async () => {
    const clock = new ManualClock();
    const answers = ['{"supplicant_state": "COMPLETED"}', '{"supplicant_state": "DISCONNECTED"}'];
    const read = await androidTermuxNetwork(() => Promise.resolve(answers.shift() ?? ''), clock).open();
    expect(await read?.()).toEqual({ network: 'wifi' });
    clock.advance(29_000);
    expect(await read?.()).toEqual({ network: 'wifi' });
    clock.advance(1_000);
    expect(await read?.()).toEqual({});
    clock.advance(30_000);
    await expect(read?.()).rejects.toThrow();
  });
});

describe('conditions', () => {
  it('say nothing of what was not read', () => {
    expect(conditionsOf({})).toEqual({});
    expect(conditionsOf({ onBattery: true, network: 'wifi' })).toEqual({ charging: false, network: 'wifi' });
    expect(areSame(conditionsOf({ onBattery: false }), { charging: true })).toBe(true);
    expect(areSame({ charging: true }, {})).toBe(false);
  });
});

import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';

import type { NetworkKind, SensorAdapter } from './sensors.js';

/** Hardware types of <linux/if_arp.h>. */
const ETHERNET = 1;
const RAW_IP = 519;

/** What carries this machine's IPv4 default route; left out where that cannot be told. */
export function linuxNetwork(root: string): SensorAdapter {
  return {
    name: 'linux-network',
    open: async () => {
      if ((await readText(root, 'proc/net/route')) === undefined) return undefined;
      return async () => {
        const device = defaultRouteDevice((await readText(root, 'proc/net/route')) ?? '');
        const network = device === undefined ? undefined : await kindOf(`${root}/sys/class/net/${device}`);
        return network === undefined ? {} : { network };
      };
    },
  };
}

/** Name of the interface of the default route with the lowest metric, by the text of /proc/net/route. */
export function defaultRouteDevice(table: string): string | undefined {
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([device = '', destination, , , , , , mask]) => {
      return destination === '00000000' && mask === '00000000' && /^[^/.][^/]*$/.test(device);
    });
  return routes.sort((one, other) => Number(one[6]) - Number(other[6]))[0]?.[0];
}

async function kindOf(folder: string): Promise<NetworkKind | undefined> {
  const names = (await listMatching(folder, /./)).map((path) => path.slice(path.lastIndexOf('/') + 1));
  if (names.includes('wireless') || names.includes('phy80211')) return 'wifi';
  const type = await readNumber(folder, 'type');
  const isModem = /^DEVTYPE=wwan$/m.test((await readText(folder, 'uevent')) ?? '');
  if (isModem || type === RAW_IP) return 'cellular';
  // A tunnel or bridge has no device below it: what carries it is not known.
  return type === ETHERNET && names.includes('device') ? 'ethernet' : undefined;
}

import type { Clock } from '@fleetgate/shared/clock';

import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';
import type { SensorAdapter } from './sensors.js';

interface Domain {
  readonly folder: string;
  readonly range: number;
}

/**
 * Power of an x86 processor by its energy counters (`/sys/class/powercap/intel-rapl:*`), averaged since the last read.
 *
 * Sums every package and every memory domain (memory is not part of a package); core and uncore are parts of a
 * package and left out. Counters wrap at `max_energy_range_uj`. Absent without read access (root since Linux 5.10).
 */
export function linuxRapl(root: string, clock: Clock): SensorAdapter {
  return {
    name: 'linux-rapl',
    open: async () => {
      const domains = await findDomains(`${root}/sys/class/powercap`);
      if (domains.length === 0) return undefined;
      let before: { readonly at: number; readonly counters: readonly number[] } | undefined;
      return async () => {
        const counters = await Promise.all(domains.map((domain) => counterOf(domain)));
        const at = clock.now();
        const last = before;
        if (last !== undefined && at <= last.at) return {};
        before = { at, counters };
        if (last === undefined) return {};
        const microjoules = counters.reduce(
          (total, counter, i) => total + advance(last.counters[i] ?? counter, counter, domains[i]?.range ?? 0),
          0,
        );
        return { powerW: microjoules / 1000 / (at - last.at), powerFrom: 'linux-rapl package + dram' };
      };
    },
  };
}

function advance(from: number, to: number, range: number): number {
  return to >= from ? to - from : to - from + range;
}

async function findDomains(folder: string): Promise<readonly Domain[]> {
  const domains: Domain[] = [];
  for (const path of await listMatching(folder, /^intel-rapl:\d+(:\d+)?$/)) {
    const name = (await readText(path, 'name')) ?? '';
    const range = await readNumber(path, 'max_energy_range_uj');
    const counted = name.startsWith('package') || name === 'dram';
    if (counted && range !== undefined && (await readNumber(path, 'energy_uj')) !== undefined) {
      domains.push({ folder: path, range });
    }
  }
  return domains;
}

async function counterOf(domain: Domain): Promise<number> {
  const value = await readNumber(domain.folder, 'energy_uj');
  if (value === undefined) throw new Error(`${domain.folder}/energy_uj cannot be read any more`);
  return value;
}

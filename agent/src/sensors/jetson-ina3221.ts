import { basename } from 'node:path';

import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';
import { chooseRails } from './power-rails.js';
import type { SensorAdapter, SensorReader } from './sensors.js';

interface Rail {
  readonly label: string;
  /** Watts now; throws when the driver went away. */
  readonly watts: () => Promise<number>;
}

/**
 * Power of a Jetson module by its INA3221 monitors.
 *
 * JetPack 5 and 6: hwmon, `in<n>_label`, `in<n>_input` (mV), `curr<n>_input` (mA).
 * JetPack 4: iio, `rail_name_<n>`, `in_power<n>_input` (mW). Rails are told by label, never by number.
 */
export function jetsonIna3221(root: string): SensorAdapter {
  return {
    name: 'jetson-ina3221',
    open: async () => {
      const rails = [...(await hwmonRails(root)), ...(await iioRails(root))];
      const chosen = chooseRails(rails.map((rail) => rail.label));
      if (chosen === undefined) return undefined;
      return readerOf(rails.filter((rail) => chosen.includes(rail.label)));
    },
  };
}

function readerOf(rails: readonly Rail[]): SensorReader {
  const powerFrom = `jetson-ina3221 ${rails.map((rail) => rail.label).join(' + ')}`;
  return async () => {
    const parts = await Promise.all(rails.map((rail) => rail.watts()));
    return { powerW: parts.reduce((total, part) => total + part, 0), powerFrom };
  };
}

async function hwmonRails(root: string): Promise<readonly Rail[]> {
  const rails: Rail[] = [];
  for (const chip of await listMatching(`${root}/sys/bus/i2c/drivers/ina3221`, /^\d+-[0-9a-f]{4}$/)) {
    for (const folder of await listMatching(`${chip}/hwmon`, /^hwmon\d+$/)) {
      for (const file of await listMatching(folder, /^in\d+_label$/)) {
        const n = basename(file).slice(2, -'_label'.length);
        const label = await readText(file);
        if (label === undefined || (await readNumber(folder, `curr${n}_input`)) === undefined) continue;
        rails.push({
          label,
          watts: async () =>
            ((await present(folder, `in${n}_input`)) * (await present(folder, `curr${n}_input`))) / 1_000_000,
        });
      }
    }
  }
  return rails;
}

async function iioRails(root: string): Promise<readonly Rail[]> {
  const rails: Rail[] = [];
  for (const chip of await listMatching(`${root}/sys/bus/i2c/drivers/ina3221x`, /^\d+-[0-9a-f]{4}$/)) {
    for (const folder of await listMatching(chip, /^iio:device\d+$/)) {
      for (const file of await listMatching(folder, /^rail_name_\d+$/)) {
        const n = basename(file).slice('rail_name_'.length);
        const label = await readText(file);
        if (label === undefined) continue;
        rails.push({ label, watts: async () => (await present(folder, `in_power${n}_input`)) / 1000 });
      }
    }
  }
  return rails;
}

async function present(folder: string, name: string): Promise<number> {
  const value = await readNumber(folder, name);
  if (value === undefined) throw new Error(`${folder}/${name} holds no number`);
  return value;
}

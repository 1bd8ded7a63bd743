import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';
import type { SensorAdapter } from './sensors.js';

/** Zones that mean the processor; without any of them the hottest zone speaks for the machine. */
const PROCESSOR = /cpu|soc|x86_pkg|tj|big|little|gpu/i;

/** Temperature of the processor by `/sys/class/thermal` (thousandths of a degree): the hottest of its zones. */
export function linuxThermal(root: string): SensorAdapter {
  return {
    name: 'linux-thermal',
    open: async () => {
      const zones = await listMatching(`${root}/sys/class/thermal`, /^thermal_zone\d+$/);
      const types = await Promise.all(zones.map((zone) => readText(zone, 'type')));
      const processor = zones.filter((_, i) => PROCESSOR.test(types[i] ?? ''));
      const chosen = processor.length > 0 ? processor : zones;
      if ((await hottest(chosen)) === undefined) return undefined;
      return async () => {
        const temperatureC = await hottest(chosen);
        if (temperatureC === undefined) throw new Error('no thermal zone can be read any more');
        return { temperatureC };
      };
    },
  };
}

async function hottest(zones: readonly string[]): Promise<number | undefined> {
  const temperatures = await Promise.all(zones.map((zone) => readNumber(zone, 'temp')));
  // Zones that are switched off answer with figures such as -256000 or 200000000.
  const plausible = temperatures.flatMap((t) => (t !== undefined && t > -40_000 && t < 150_000 ? t / 1000 : []));
  return plausible.length === 0 ? undefined : Math.max(...plausible);
}

import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';
import type { Reading, SensorAdapter } from './sensors.js';

/** Charge of the machine's batteries, and the power it draws from them while it runs on them. */
export function linuxBattery(root: string): SensorAdapter {
  return {
    name: 'linux-battery',
    open: async () => {
      const supplies = await listMatching(`${root}/sys/class/power_supply`, /./);
      const types = await Promise.all(supplies.map((path) => readText(path, 'type')));
      const batteries = supplies.filter((_, i) => types[i] === 'Battery');
      if (batteries.length === 0) return undefined;
      return async () => combine(await Promise.all(batteries.map((path) => readBattery(path))));
    },
  };
}

interface Battery {
  readonly ratio: number | undefined;
  readonly isDischarging: boolean | undefined;
  /** Undefined while it is not discharging. */
  readonly powerW: number | undefined;
}

async function readBattery(path: string): Promise<Battery> {
  const capacity = await readNumber(path, 'capacity');
  const status = await readText(path, 'status');
  if (capacity === undefined && status === undefined) throw new Error(`${path} cannot be read any more`);
  const ratio = capacity === undefined ? undefined : Math.min(1, Math.max(0, capacity / 100));
  const isDischarging = status === undefined ? undefined : status === 'Discharging';
  if (isDischarging !== true) return { ratio, isDischarging, powerW: undefined };
  const power = await readNumber(path, 'power_now');
  if (power !== undefined) return { ratio, isDischarging, powerW: Math.abs(power) / 1e6 };
  const voltage = await readNumber(path, 'voltage_now');
  const current = await readNumber(path, 'current_now');
  const known = voltage !== undefined && current !== undefined;
  return { ratio, isDischarging, powerW: known ? (voltage * Math.abs(current)) / 1e12 : undefined };
}

function combine(batteries: readonly Battery[]): Reading {
  const ratios = batteries.flatMap((battery) => battery.ratio ?? []);
  const powers = batteries.flatMap((battery) => battery.powerW ?? []);
  const discharging = batteries.flatMap((battery) => battery.isDischarging ?? []);
  const powerW = powers.reduce((a, b) => a + b, 0);
  return {
    ...(ratios.length === 0 ? {} : { batteryRatio: ratios.reduce((a, b) => a + b, 0) / ratios.length }),
    ...(discharging.length === 0 ? {} : { onBattery: discharging.includes(true) }),
    ...(powerW > 0 ? { powerW, powerFrom: 'linux-battery discharge' } : {}),
  };
}

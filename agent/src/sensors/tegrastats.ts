import { chooseRails } from './power-rails.js';
import type { Reading } from './sensors.js';

const MIB = 1024 * 1024;

/**
 * Reads one line of `tegrastats`, of any JetPack: `RAM 2448/7620MB ... CPU [3%@1510,off,...] ... cpu@47.5C ...
 * VDD_IN 4600mW/4600mW ...` (power now/average; older releases leave out `mW`). Fields it does not know are skipped.
 */
export function parseTegrastats(line: string): Reading {
  const ram = /\bRAM (\d+)\/(\d+)MB/.exec(line);
  const cores = [...(/\bCPU \[([^\]]*)\]/.exec(line)?.[1] ?? '').matchAll(/(\d+)%/g)].map((match) => Number(match[1]));
  const temperatures = [...line.matchAll(/\b([A-Za-z0-9_-]+)@(-?\d+(?:\.\d+)?)C\b/g)]
    // PMIC reports a fixed 100 C (a placeholder of the driver); -256 means that the sensor is off.
    .filter(([, name, value]) => !/^PMIC$/i.test(name ?? '') && Number(value) > -40)
    .map((match) => Number(match[2]));
  const rails = new Map(
    [...line.matchAll(/\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?\/(\d+)(?:mW)?(?= |$)/g)].map((match) => [
      match[1] ?? '',
      Number(match[2]) / 1000,
    ]),
  );
  const chosen = chooseRails([...rails.keys()]);
  return {
    ...(ram === null ? {} : { memoryUsedBytes: Number(ram[1]) * MIB }),
    ...(cores.length === 0 ? {} : { cpuRatio: cores.reduce((a, b) => a + b, 0) / cores.length / 100 }),
    ...(temperatures.length === 0 ? {} : { temperatureC: Math.max(...temperatures) }),
    ...(chosen === undefined
      ? {}
      : {
          powerW: chosen.reduce((total, label) => total + (rails.get(label) ?? 0), 0),
          powerFrom: `jetson-tegrastats ${chosen.join(' + ')}`,
        }),
  };
}

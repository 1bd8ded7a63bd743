import { readText } from '@fleetgate/shared/linux-files';
import type { SensorAdapter } from './sensors.js';

/** Memory in use and busy share of the cores, by /proc. */
export function linuxProc(root: string): SensorAdapter {
  return {
    name: 'linux-proc',
    open: async () => {
      if ((await readText(root, 'proc/meminfo')) === undefined) return undefined;
      let before: CpuTimes | undefined;
      return async () => {
        const memory = parseMemory((await readText(root, 'proc/meminfo')) ?? '');
        const times = parseCpu((await readText(root, 'proc/stat')) ?? '');
        const cpuRatio = before === undefined || times === undefined ? undefined : busyRatio(before, times);
        before = times;
        return {
          ...(memory === undefined ? {} : { memoryUsedBytes: memory.total - memory.available }),
          ...(cpuRatio === undefined ? {} : { cpuRatio }),
        };
      };
    },
  };
}

interface CpuTimes {
  readonly busy: number;
  readonly total: number;
}

function busyRatio(before: CpuTimes, now: CpuTimes): number | undefined {
  const total = now.total - before.total;
  return total <= 0 ? undefined : Math.min(1, Math.max(0, (now.busy - before.busy) / total));
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal (guest is part of user). */
function parseCpu(text: string): CpuTimes | undefined {
  const fields = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').map(Number).slice(0, 8);
  if (fields === undefined || fields.length < 4 || fields.some((field) => !Number.isFinite(field))) return undefined;
  const total = fields.reduce((a, b) => a + b, 0);
  return { total, busy: total - (fields[3] ?? 0) - (fields[4] ?? 0) };
}

/** Total and available bytes by the text of /proc/meminfo. */
export function parseMemory(text: string): { readonly total: number; readonly available: number } | undefined {
  const kib = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1] ?? Number.NaN) * 1024;
  const total = kib('MemTotal');
  const available = kib('MemAvailable');
  return Number.isFinite(total) && Number.isFinite(available) ? { total, available } : undefined;
}

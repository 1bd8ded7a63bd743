import { createHash } from 'node:crypto';
import { arch, availableParallelism, cpus, hostname, release, totalmem, type as osType } from 'node:os';

import type { Reported } from '@fleetgate/shared/protocol/twin';

import { readText } from '@fleetgate/shared/linux-files';
import { parseMemory } from './linux-proc.js';

/**
 * What this machine is. `id` is equal for all agents of one machine: a digest of its machine id, which must not be shown
 * as it is (man 5 machine-id), or of what stays the same until the next start where there is none (containers, phones).
 */
export async function describeHost(root: string): Promise<Reported['host']> {
  const machine = (await readText(root, 'etc/machine-id')) || (await readText(root, 'proc/sys/kernel/random/boot_id'));
  const id = createHash('sha256')
    .update(`fleetgate ${machine ?? hostname()}`)
    .digest('hex')
    .slice(0, 16);
  return {
    id,
    os: `${osType()} ${release()}`,
    arch: arch(),
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memoryBytes: parseMemory((await readText(root, 'proc/meminfo')) ?? '')?.total ?? totalmem(),
  };
}

import { z } from 'zod';

import type { Clock } from '@fleetgate/shared/clock';

import { type CommandRunner, commandSensor } from './process-command.js';
import type { Reading, SensorAdapter } from './sensors.js';

/** The command wakes another app: ask it rarely. */
const FRESH_MS = 30_000;

const connectionSchema = z.object({ supplicant_state: z.string() });

/**
 * Whether a phone under Termux is on Wi-Fi (needs the Termux:API app). What else it may be on is not told: Android shows
 * neither routes nor interfaces to apps.
 */
export function androidTermuxNetwork(run: CommandRunner, clock: Clock): SensorAdapter {
  let last: { readonly at: number; readonly reading: Reading } | undefined;
  const read = async (): Promise<Reading> => {
    if (last !== undefined && clock.now() - last.at < FRESH_MS) return last.reading;
    const connection = connectionSchema.parse(JSON.parse(await run('termux-wifi-connectioninfo', [], 'exit')));
    const reading: Reading = connection.supplicant_state === 'COMPLETED' ? { network: 'wifi' } : {};
    last = { at: clock.now(), reading };
    return reading;
  };
  return commandSensor('termux-network', read);
}

import type { Clock } from '@fleetgate/shared/clock';

import { type CommandRunner, commandSensor } from './process-command.js';
import type { Reading, SensorAdapter } from './sensors.js';
import { parseTermuxStatus } from './termux-status.js';

/** The command takes about half a second and wakes another app: ask it rarely. */
const FRESH_MS = 5000;

/** Battery charge, temperature and, where plausible, power of a phone under Termux (needs the Termux:API app). */
export function androidTermuxBattery(run: CommandRunner, clock: Clock): SensorAdapter {
  let last: { readonly at: number; readonly reading: Reading } | undefined;
  const read = async (): Promise<Reading> => {
    if (last !== undefined && clock.now() - last.at < FRESH_MS) return last.reading;
    const reading = parseTermuxStatus(await run('termux-battery-status', [], 'exit'));
    if (reading === undefined) throw new Error('termux-battery-status did not print its JSON');
    last = { at: clock.now(), reading };
    return reading;
  };
  return commandSensor('termux-battery', read);
}

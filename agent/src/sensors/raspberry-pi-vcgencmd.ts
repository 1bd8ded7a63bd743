import { type CommandRunner, commandSensor } from './process-command.js';
import type { Reading, SensorAdapter } from './sensors.js';
import { parsePmicPower, parseTemperature, parseThrottled } from './vcgencmd.js';

/** Power of a Raspberry Pi 5 by its power chip. Older boards have none: their firmware refuses the command. */
export function raspberryPiPmic(run: CommandRunner): SensorAdapter {
  const read = async (): Promise<number | undefined> =>
    parsePmicPower(await run('vcgencmd', ['pmic_read_adc'], 'exit'));
  return {
    name: 'raspberry-pi-pmic',
    open: async () => {
      const first = await read().catch(() => undefined);
      if (first === undefined) return undefined;
      return async () => {
        const powerW = await read();
        if (powerW === undefined) throw new Error('vcgencmd pmic_read_adc gave no rail with volts and amperes');
        return { powerW, powerFrom: 'raspberry-pi-pmic, fitted to wall power' };
      };
    },
  };
}

/** Temperature and throttling of any Raspberry Pi. */
export function raspberryPiVcgencmd(run: CommandRunner): SensorAdapter {
  const read = async (): Promise<Reading> => {
    const throttled = parseThrottled(await run('vcgencmd', ['get_throttled'], 'exit'));
    const temperatureC = parseTemperature(await run('vcgencmd', ['measure_temp'], 'exit'));
    if (throttled === undefined && temperatureC === undefined) throw new Error('vcgencmd answers in no known form');
    return {
      ...(throttled === undefined ? {} : { throttled }),
      ...(temperatureC === undefined ? {} : { temperatureC }),
    };
  };
  return commandSensor('raspberry-pi-vcgencmd', read);
}

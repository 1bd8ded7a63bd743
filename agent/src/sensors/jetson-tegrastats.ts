import { type CommandRunner, isMissingCommand } from './process-command.js';
import type { SensorAdapter } from './sensors.js';
import { parseTegrastats } from './tegrastats.js';

/** Power, temperature, memory and cores of a Jetson by its own tool: for boards whose hwmon files are not there. */
export function jetsonTegrastats(run: CommandRunner): SensorAdapter {
  const readLine = () => run('tegrastats', ['--interval', '100'], 'first-line');
  return {
    name: 'jetson-tegrastats',
    open: async () => {
      try {
        await readLine();
      } catch (error) {
        if (isMissingCommand(error)) return undefined;
        throw error;
      }
      return async () => parseTegrastats(await readLine());
    },
  };
}

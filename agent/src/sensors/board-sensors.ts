import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';

import { androidTermuxBattery } from './android-termux-battery.js';
import { androidTermuxNetwork } from './android-termux-network.js';
import { jetsonIna3221 } from './jetson-ina3221.js';
import { jetsonTegrastats } from './jetson-tegrastats.js';
import { linuxNetwork } from './linux-network.js';
import { linuxBattery } from './linux-power-supply.js';
import { linuxProc } from './linux-proc.js';
import { linuxRapl } from './linux-rapl.js';
import { linuxThermal } from './linux-thermal.js';
import type { CommandRunner } from './process-command.js';
import { raspberryPiPmic, raspberryPiVcgencmd } from './raspberry-pi-vcgencmd.js';
import { SensorSet } from './sensor-set.js';
import type { SensorAdapter, Sensors } from './sensors.js';

export interface SensorMachine {
  /** `/`, or in tests a tree of the documented form. */
  readonly root: string;
  readonly run: CommandRunner;
  readonly clock: Clock;
}

/**
 * Sensors of a board: exactly those its profile lists, in that order, then the network and /proc.
 *
 * A laptop that plays a Raspberry Pi thus never shows its own power as the Pi's.
 */
export function boardSensors(board: BoardProfile, machine: SensorMachine, log: Logger): Sensors {
  const { root, run, clock } = machine;
  const adapters = board.sensors.map((name) => adapterOf(name, machine));
  const network = board.sensors.includes('termux-battery') ? androidTermuxNetwork(run, clock) : linuxNetwork(root);
  return new SensorSet([...adapters, network, linuxProc(root)], clock, log);
}

function adapterOf(name: BoardProfile['sensors'][number], { root, run, clock }: SensorMachine): SensorAdapter {
  switch (name) {
    case 'jetson-ina3221':
      return jetsonIna3221(root);
    case 'jetson-tegrastats':
      return jetsonTegrastats(run);
    case 'raspberry-pi-pmic':
      return raspberryPiPmic(run);
    case 'raspberry-pi-vcgencmd':
      return raspberryPiVcgencmd(run);
    case 'termux-battery':
      return androidTermuxBattery(run, clock);
    case 'linux-rapl':
      return linuxRapl(root, clock);
    case 'linux-battery':
      return linuxBattery(root);
    case 'linux-thermal':
      return linuxThermal(root);
  }
}

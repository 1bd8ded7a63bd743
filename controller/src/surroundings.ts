import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';

import type { ControllerConfig } from './config/config.js';
import type { CountMessage } from './fleet/mqtt-fleet-link.js';
import type { Closers } from './platform/closers.js';

/** What every part of the controller is put together with. */
export interface Surroundings {
  readonly config: ControllerConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly closers: Closers;
  /** Counts messages of devices. */
  readonly count: CountMessage;
}

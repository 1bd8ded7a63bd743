import { systemClock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AedesBroker } from './aedes-broker.js';
import { EventTally } from './broker-event.js';
import type { BrokerStart, FromBroker, ToBroker } from './broker-ipc.js';
import type { BrokerUser } from './broker-user.js';

// The broker process: serves MQTT and takes in telemetry, away from the controller's event loop. Started and told what
// to do by BrokerSupervisor; ends when told to, or when the controller is gone.

const EVENTS_EVERY = milliseconds(500);
const SHUTDOWN_DEADLINE_MS = 4_000;

const tally = new EventTally();
let broker: AedesBroker | undefined;
let stopping = false;

/** False when the message could not be handed over: the parent is slow, and what can wait should. */
function tell(message: FromBroker): void {
  if (process.connected) process.send?.(message);
}

async function start(options: BrokerStart, users: readonly BrokerUser[], version: number): Promise<void> {
  if (options.external === undefined) {
    const { host, port, fleet } = options;
    broker = await AedesBroker.start(
      { host, port, fleet, clock: systemClock, onEvent: (event) => tally.add(event) },
      users,
    );
  }
  systemClock.every(EVENTS_EVERY, () => {
    const events = tally.take();
    if (events.length > 0) tell({ kind: 'events', events });
  });
  tell({ kind: 'started', host: broker?.host ?? options.host, port: broker?.port ?? options.port, version });
}

async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(1), SHUTDOWN_DEADLINE_MS).unref();
  await broker?.close();
  process.exit(0);
}

async function obey(message: ToBroker): Promise<void> {
  switch (message.kind) {
    case 'start':
      await start(message.start, message.users, message.version);
      return;
    case 'users':
      await broker?.setUsers(message.users);
      tell({ kind: 'users-set', version: message.version });
      return;
    case 'ping':
      tell({ kind: 'pong' });
      return;
    case 'stop':
      await stop();
      return;
  }
}

process.on('message', (message: ToBroker) => {
  obey(message).catch((error: unknown) => {
    const code = isFleetError(error) ? error.code : 'internal.invariant';
    tell({ kind: 'failed', code, message: messageOf(error), hint: isFleetError(error) ? error.hint : undefined });
    process.disconnect();
    process.exitCode = 1;
    void stop();
  });
});
process.on('disconnect', () => void stop());
// Ctrl-C goes to the whole process group; the controller decides when its broker ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => void stop());

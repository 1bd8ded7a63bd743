import { systemClock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { DeviceId, FleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { fleetFilter, sharedFilter } from '@fleetgate/shared/protocol/topics';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { connectBrokerLink } from '../platform/mqtt-broker-link.js';
import { aedesTelemetrySource } from '../telemetry/aedes-telemetry-source.js';
import { mqttTelemetrySource } from '../telemetry/mqtt-telemetry-source.js';
import { openTelemetryStore } from '../telemetry/open-telemetry-store.js';
import type { TelemetryObservation } from '../telemetry/telemetry-event.js';
import { TelemetryIngestion } from '../telemetry/telemetry-ingestion.js';
import type { TelemetrySource } from '../telemetry/telemetry-source.js';
import { AedesBroker } from './aedes-broker.js';
import { EventTally } from './broker-event.js';
import type { BrokerStart, ExternalBroker, FromBroker, ToBroker } from './broker-ipc.js';
import type { BrokerUser } from './broker-user.js';

// The broker process: serves MQTT and takes in telemetry, away from the controller's event loop. Started and told what
// to do by BrokerSupervisor; ends when told to, or when the controller is gone.

const EVENTS_EVERY = milliseconds(500);
const SHUTDOWN_DEADLINE_MS = 4_000;

const tally = new EventTally();
let broker: AedesBroker | undefined;
let ingestion: TelemetryIngestion | undefined;
const untold = new Map<DeviceId, TelemetryObservation>();
let telling = false;
let stopping = false;

function tell(message: FromBroker): void {
  if (process.connected) process.send?.(message);
}

async function start(options: BrokerStart, users: readonly BrokerUser[], version: number): Promise<void> {
  const { host } = options;
  ingestion = new TelemetryIngestion({
    ...(await openSources(options, users)),
    openStore: () =>
      openTelemetryStore(options.telemetry, 'write', {
        onReplaced: (movedTo) =>
          tally.add({
            kind: 'telemetry-store',
            state: 'replaced',
            message: `telemetry database was corrupt, lies at ${movedTo} now, and a fresh one was begun`,
            count: 1,
          }),
      }),
    retention: milliseconds(options.retentionMs),
    clock: systemClock,
    onEvent: (event) => tally.add(event),
  });
  ingestion.observations$.subscribe((observations) => {
    for (const observation of observations) untold.set(observation.deviceId, merge(observation));
    tellObservations();
  });
  systemClock.every(EVENTS_EVERY, () => {
    const events = tally.take();
    if (events.length > 0) tell({ kind: 'events', events });
  });
  tell({
    kind: 'started',
    host: broker?.host ?? host,
    port: broker?.port ?? 0,
    tlsPort: broker?.tlsPort ?? 0,
    version,
  });
}

/** Where telemetry comes from: the broker of this process, or connections to another. */
async function openSources(options: BrokerStart, users: readonly BrokerUser[]): Promise<Sources> {
  const { host, port, tls, fleet, external } = options;
  if (external !== undefined) return externalSources(external, fleet);
  broker = await AedesBroker.start(
    {
      host,
      port,
      ...(tls === undefined ? {} : { tls }),
      fleet,
      clock: systemClock,
      onEvent: (event) => tally.add(event),
    },
    users,
  );
  return { source: aedesTelemetrySource(broker.engine, fleet) };
}

/** One message at a time: while the controller does not read, newer values take the place of older ones. */
function tellObservations(): void {
  if (telling || untold.size === 0 || !process.connected) return;
  const message: FromBroker = { kind: 'observations', observations: [...untold.values()] };
  untold.clear();
  telling = true;
  process.send?.(message, undefined, undefined, () => {
    telling = false;
    tellObservations();
  });
}

function merge(newer: TelemetryObservation): TelemetryObservation {
  const older = untold.get(newer.deviceId);
  return older?.epoch === newer.epoch ? { ...newer, last: { ...older.last, ...newer.last } } : newer;
}

type Sources = Pick<ConstructorParameters<typeof TelemetryIngestion>[0], 'source' | 'live'>;

function externalSources(external: ExternalBroker, fleet: FleetId): Sources {
  const { replica } = external;
  const topics = fleetFilter(fleet, 'telemetry');
  const name = `fleetgate-telemetry-${fleet}`;
  if (replica === undefined) return { source: externalSource(external, name, topics) };
  // Over a connection each: what comes by both subscriptions of one could not be told apart.
  return {
    source: externalSource(external, `${name}-${replica}`, sharedFilter(topics)),
    live: externalSource(external, `${name}-${replica}-live`, topics),
  };
}

function externalSource(external: ExternalBroker, clientId: string, topics: string): TelemetrySource {
  const link = connectBrokerLink({ ...external, protocolVersion: 'newest', clientId, log: silentLogger });
  return mqttTelemetrySource(link, topics, () =>
    tally.add({ kind: 'subscribe-denied', username: external.username ?? '', filter: 'telemetry', count: 1 }),
  );
}

async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(1), SHUTDOWN_DEADLINE_MS).unref();
  await broker?.close();
  await ingestion?.stop();
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
    case 'material':
      broker?.setMaterial(message.material);
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

/** Entry of a process of many devices, each a connection of its own; obeys its parent and tells it what has happened. */
import { readFileSync } from 'node:fs';

import { deviceId, fleetId } from '@fleetgate/shared/ids';

import { LoadDevice, type LoadTally } from './mqtt-load-device.js';
import type { DevicesState, SwarmOrder, SwarmPlan } from './swarm.js';

const PER_ADDRESS = 2000;
const STATE_EVERY_MS = 200;

const plan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as SwarmPlan;
const tally: LoadTally = {
  ...{ connections: 0, lost: 0, refused: 0 },
  ...{ published: 0, acknowledgedBatches: 0, acknowledgedSamples: 0 },
};
const devices = plan.devices.map(
  ({ id, secret }, at) =>
    new LoadDevice({
      url: new URL(plan.mqttUrl),
      localAddress: `127.0.0.${2 + Math.floor(at / PER_ADDRESS)}`,
      fleet: fleetId(plan.fleet),
      device: deviceId(id),
      secret,
      tally,
    }),
);
const sending = new Map<LoadDevice, NodeJS.Timeout>();

/** Each device sends at its own instant of the period, as a fleet that came up at different times does. */
function startTelemetry(samples: number): void {
  const periodMs = samples * 1000;
  for (const [at, device] of devices.entries()) {
    const begin = () => {
      device.sendTelemetry(samples);
      sending.set(
        device,
        setInterval(() => device.sendTelemetry(samples), periodMs),
      );
    };
    sending.set(device, setTimeout(begin, Math.floor((at * periodMs) / devices.length)));
  }
}

process.on('message', (order: SwarmOrder) => {
  if (order.kind === 'connect') for (const device of devices) device.open();
  else if (order.kind === 'telemetry') startTelemetry(order.samples);
  else for (const timer of sending.values()) clearTimeout(timer);
});
process.on('disconnect', () => process.exit());
setInterval(() => {
  const online = devices.filter((device) => device.online).length;
  const state: DevicesState = { kind: 'state', online, tally };
  process.send?.(state);
}, STATE_EVERY_MS);

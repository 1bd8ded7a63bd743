import type { Random } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { EventClock } from './event-clock.js';
import type { SimulatedDevice } from './simulated-device.js';
import type { SimulatedNetwork } from './simulated-network.js';
import type { ChurnEvent } from './trace.js';

const OBSERVED_EVERY = milliseconds(5000);

export interface FleetLife {
  readonly clock: EventClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly devices: readonly SimulatedDevice[];
  /** Without any, all devices are there from the beginning. */
  readonly churn: readonly ChurnEvent[];
  /** When the churn's time begins; who is in it at its very beginning is there already now. */
  readonly churnFrom: Milliseconds;
  /** Restarts of each device, an hour. */
  readonly restarts: number;
}

/** A restart takes as long as an agent's does. */
const RESTART = milliseconds(5000);

/** Switches devices on and off as the churn says, and lets those that are on tell how busy they are. */
export function startFleet(life: FleetLife): void {
  const { churn, churnFrom, clock, devices, network } = life;
  const nodes = new Map<string, SimulatedDevice>();
  const free = [...devices];
  const removed = new Set<SimulatedDevice>();
  if (churn.length === 0) for (const device of free) turn(life, device, true);
  for (const { atMs, kind, node } of churn) {
    const device = kind === 'add' ? free.shift() : nodes.get(node);
    // More nodes at once than devices: the rest of the churn is of a larger fleet.
    if (device === undefined) continue;
    if (kind === 'add') {
      nodes.set(node, device);
    } else {
      // Who joins later is another node on the same board.
      nodes.delete(node);
      free.push(device);
    }
    const delay = milliseconds(atMs === 0 ? 0 : churnFrom + atMs);
    clock.after(delay, () => {
      if (kind === 'add') removed.delete(device);
      else removed.add(device);
      turn(life, device, kind === 'add');
    });
  }
  for (const device of devices) {
    clock.every(OBSERVED_EVERY, () => {
      if (device.isOn) network.observed(device);
    });
    if (life.restarts > 0) restartSometimes(life, device, removed);
  }
}

/** At random times, the more often the higher the rate; a device that is off by churn stays so. */
function restartSometimes(life: FleetLife, device: SimulatedDevice, removed: ReadonlySet<SimulatedDevice>): void {
  const { clock, random, restarts } = life;
  const wait = (-Math.log(1 - random.uniform()) * 3_600_000) / restarts;
  clock.after(milliseconds(wait), () => {
    if (device.isOn) {
      turn(life, device, false);
      clock.after(RESTART, () => {
        if (!removed.has(device)) turn(life, device, true);
      });
    }
    restartSometimes(life, device, removed);
  });
}

function turn({ network, random }: FleetLife, device: SimulatedDevice, on: boolean): void {
  if (device.isOn === on) return;
  if (on) {
    device.switchOn();
    network.presence(device.id, 'online');
    network.reported(device.id, device.reported());
    return;
  }
  device.switchOff();
  // Half of them close their connection as they go; of the others only the lease tells.
  if (random.uniform() < 0.5) network.presence(device.id, 'offline');
}

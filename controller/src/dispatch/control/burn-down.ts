import type { BatteryBudget, BurnDownView, UsageBurnDown } from '@fleetgate/shared/api/operations';
import type { DeviceId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { ClassQueues } from './class-queues.js';
import type { ControlFacts } from './control-facts.js';
import type { DeviceQueues } from './device-queues.js';

export interface BurnDownFacts {
  /** Undefined while no plan is in force: then only usage is told. */
  readonly facts: ControlFacts | undefined;
  readonly usage: readonly UsageBurnDown[];
  readonly power: { readonly backlogJ: number; readonly price: number };
  readonly classes: ClassQueues;
  readonly devices: DeviceQueues;
  readonly batteries: readonly BatteryBudget[];
  readonly paceOf: (battery: BatteryBudget) => number;
  readonly capacityOf: (device: DeviceId) => number;
  readonly batteryPriceOf: (device: DeviceId) => number;
  readonly busyPriceOf: (device: DeviceId) => number;
  readonly now: UnixMs;
}

type Queue = BurnDownView['queues'][number];

/** Every budget with what is used of it and what it makes things cost. Pure. */
export function burnDown(from: BurnDownFacts): BurnDownView {
  const { facts, usage } = from;
  if (facts === undefined) return { usage, queues: [] };
  const queues = [...powerQueue(from, facts), ...batteryQueues(from), ...busyQueues(from), ...classQueues(from, facts)];
  return { usage, queues };
}

function powerQueue({ power }: BurnDownFacts, { requestPower }: ControlFacts): readonly Queue[] {
  if (requestPower === undefined) return [];
  const { backlogJ, price } = power;
  return [
    { bound: 'fleet-power', of: null, limit: requestPower, unit: 'W', backlog: backlogJ, backlogUnit: 'J', price },
  ];
}

function batteryQueues({ batteries, batteryPriceOf, devices, now, paceOf }: BurnDownFacts): readonly Queue[] {
  return batteries.map((battery) => {
    const device = battery.device as DeviceId;
    const limit = paceOf(battery);
    const backlog = devices.charge(device, limit, now);
    const price = batteryPriceOf(device);
    return { bound: 'battery', of: device, limit, unit: 'W', backlog, backlogUnit: 'J', price };
  });
}

function busyQueues({ devices, busyPriceOf, capacityOf, now }: BurnDownFacts): readonly Queue[] {
  return [...devices.keys()].map((device) => {
    const limit = capacityOf(device);
    const backlog = devices.busy(device, limit, now);
    return {
      bound: 'busy-time',
      of: device,
      limit,
      unit: 'devices',
      backlog,
      backlogUnit: 's',
      price: busyPriceOf(device),
    };
  });
}

function classQueues({ classes }: BurnDownFacts, facts: ControlFacts): readonly Queue[] {
  return [...facts.classes].flatMap(([of, { energyMean, latencyMean, minServed }]): readonly Queue[] => {
    const backlog = classes.backlogOf(of) ?? { energy: 0, latency: 0, short: 0 };
    const { perJoule, perSecond, served } = classes.pricesOf(facts, of);
    const base = { of, backlogUnit: 'requests' } as const;
    return [
      ...(energyMean === undefined
        ? []
        : [
            {
              ...base,
              bound: 'class-energy',
              limit: energyMean,
              unit: 'J',
              backlog: backlog.energy,
              price: perJoule,
            } as const,
          ]),
      { ...base, bound: 'class-latency', limit: latencyMean, unit: 'ms', backlog: backlog.latency, price: perSecond },
      { ...base, bound: 'class-served', limit: minServed, unit: 'ratio', backlog: backlog.short, price: served },
    ];
  });
}

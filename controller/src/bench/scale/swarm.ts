import type { LoadTally } from './mqtt-load-device.js';

/** What a process of devices is to be. */
export interface SwarmPlan {
  readonly mqttUrl: string;
  readonly fleet: string;
  readonly devices: readonly { readonly id: string; readonly secret: string }[];
}

/** `telemetry`: batches of so many samples, one sample a second of each device, until `quiet`. */
export type SwarmOrder =
  { readonly kind: 'connect' } | { readonly kind: 'telemetry'; readonly samples: number } | { readonly kind: 'quiet' };

export interface DevicesState {
  readonly kind: 'state';
  readonly online: number;
  readonly tally: Readonly<LoadTally>;
}

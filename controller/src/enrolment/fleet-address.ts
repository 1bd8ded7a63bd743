import { brokerNameOf } from '../identity/certificate.js';
import { mqttUrlFor } from './mqtt-url.js';

export interface BrokerUrls {
  readonly mqttUrl: string;
  /** Where the embedded broker takes certificates. */
  readonly tlsUrl: string | undefined;
}

/** Where devices find the broker, and the name of their fleet. */
export class FleetAddress {
  constructor(
    readonly fleet: string,
    readonly urls: BrokerUrls,
    /** An external broker's address is given as it is; ours is given by the host that the device has reached. */
    readonly kind: 'embedded' | 'external',
  ) {}

  /** The broker for a device that has reached the controller as `hostHeader`, with a certificate or without. */
  brokerFor(hostHeader: string | undefined, by: 'certificate' | 'secret'): string {
    const { mqttUrl, tlsUrl } = this.urls;
    if (this.kind === 'external') return mqttUrl;
    return mqttUrlFor(hostHeader, by === 'certificate' ? (tlsUrl ?? mqttUrl) : mqttUrl);
  }

  /** The name that the broker's certificate has, whatever its address. */
  get brokerName(): string {
    return brokerNameOf(this.fleet);
  }
}

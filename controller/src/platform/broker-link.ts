import type { Observable } from 'rxjs';

export interface BrokerMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retained: boolean;
}

/** The controller's one connection to the fleet's broker, embedded or external. */
export interface BrokerLink {
  /** True while connected; emits the present state on subscription. */
  readonly connected$: Observable<boolean>;
  /**
   * Messages whose topic matches `filter`. The subscription is made at the broker on the first subscriber, renewed after
   * every reconnect (retained messages come again), and dropped with the last one.
   */
  messages(filter: string): Observable<BrokerMessage>;
  /**
   * Resolves once the broker has acknowledged (QoS 1). Rejects with `broker.unreachable` when that takes longer than
   * 10 s or the link is closed: nothing is queued without bound.
   */
  publish(topic: string, payload: Uint8Array, options?: { readonly retain?: boolean }): Promise<void>;
  close(): Promise<void>;
}

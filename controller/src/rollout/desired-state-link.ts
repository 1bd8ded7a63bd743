import type { DeviceId } from '@fleetgate/shared/ids';
import type { Desired } from '@fleetgate/shared/protocol/twin';
import type { Observable } from 'rxjs';

/** Carries desired documents to devices. */
export interface DesiredStateLink {
  /** True while documents can be published; emits the present state on subscription. */
  readonly connected$: Observable<boolean>;
  /** Documents as the broker has them, and as they come. What is no document is passed over. */
  readonly told$: Observable<{ readonly deviceId: DeviceId; readonly desired: Desired }>;
  /** Resolves when the broker keeps the document; rejects with `broker.unreachable`. */
  publish(device: DeviceId, desired: Desired): Promise<void>;
  /** Makes the broker forget the document of a removed device. */
  clear(device: DeviceId): Promise<void>;
}

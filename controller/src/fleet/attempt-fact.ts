import type { ErrorCode } from '@fleetgate/shared/errors';
import type { DeviceId, VariantId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';

/** How a job ended on a device. */
export interface AttemptFact {
  readonly deviceId: DeviceId;
  readonly variantId: VariantId;
  /** Of an answer. */
  readonly usage?: JobUsage;
  readonly failed?: ErrorCode;
}

import { z } from 'zod';

import { boardIdSchema, deviceIdSchema, fleetIdSchema } from '@fleetgate/shared/ids';

/** Who a device is, as the controller told it at enrolment. Holds the device's secret: file mode 0600, never logged. */
export const identitySchema = z.object({
  schema: z.literal('fleetgate-identity/1'),
  fleet: fleetIdSchema,
  deviceId: deviceIdSchema,
  board: boardIdSchema,
  mqttUrl: z.string().min(1),
  secret: z.string().min(1),
});
export type Identity = z.infer<typeof identitySchema>;

/**
 * The broker as seen from this device. A broker that names itself by a loopback or unspecified address is on the
 * controller's machine: reach it by the name that reached the controller.
 */
export function brokerUrl(told: string, controllerUrl: string): string {
  const broker = new URL(told);
  const local = ['localhost', '127.0.0.1', '[::1]', '0.0.0.0', '[::]'];
  if (local.includes(broker.hostname)) broker.hostname = new URL(controllerUrl).hostname;
  return broker.toString();
}

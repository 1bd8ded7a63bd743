import { check } from '@fleetgate/shared/check';
import { type BoardId, boardIdSchema, type DeviceId, deviceIdSchema } from '@fleetgate/shared/ids';
import { MOST_PEM_CHARACTERS } from '@fleetgate/shared/protocol/enrolment';
import { z } from 'zod';

import type { RenewalProof } from '../identity/certification.js';

/** What a device asks with. */
export interface EnrolmentRequest {
  readonly token: string;
  readonly name: DeviceId;
  readonly board: BoardId;
  readonly nonce?: string | undefined;
  readonly csr?: string | undefined;
}

const requestSchema: z.ZodType<EnrolmentRequest> = z.object({
  token: z.string().min(1).max(1000),
  name: deviceIdSchema,
  board: boardIdSchema,
  nonce: z.string().min(16).max(200).optional(),
  csr: z.string().max(MOST_PEM_CHARACTERS).optional(),
});

/** Without a proof a device shows its secret: it never had a certificate. */
export interface RenewalRequest {
  readonly deviceId: DeviceId;
  readonly csr: string;
  readonly proof?: RenewalProof | undefined;
}

const renewalSchema: z.ZodType<RenewalRequest> = z.object({
  deviceId: deviceIdSchema,
  csr: z.string().max(MOST_PEM_CHARACTERS),
  proof: z.object({ certificate: z.string().max(MOST_PEM_CHARACTERS), signature: z.string().max(500) }).optional(),
});

/** Throws `request.invalid`. */
export const readEnrolment = (body: unknown): EnrolmentRequest =>
  check(requestSchema, body, 'request.invalid', 'enrolment', {
    hint: 'send {"token": ..., "name": ..., "board": ..., "nonce": ..., "csr": ...} as JSON',
  });

/** Throws `request.invalid`. */
export const readRenewal = (body: unknown): RenewalRequest =>
  check(renewalSchema, body, 'request.invalid', 'renewal', {
    hint: 'send {"deviceId": ..., "csr": ..., "proof": {"certificate": ..., "signature": ...}} as JSON',
  });

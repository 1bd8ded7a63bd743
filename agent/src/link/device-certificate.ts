import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';

import { z } from 'zod';

import { certificateRequestPem } from '@fleetgate/shared/certificate-request';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';
import { renewalText } from '@fleetgate/shared/protocol/enrolment';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

/** What the controller says of a certificate it has issued, PEM. */
export const deviceTlsSchema = z.object({
  certificate: z.string().min(1).max(10_000),
  authority: z.string().min(1).max(10_000),
  brokerName: z.string().min(1).max(200),
});
type DeviceTls = z.infer<typeof deviceTlsSchema>;

/** The device's own key and its certificate. The key is made here and goes nowhere: file mode 0600, never logged. */
export const deviceCertificateSchema = deviceTlsSchema.extend({
  schema: z.literal('fleetgate-certificate/1'),
  keyPem: z.string().min(1),
});
export type DeviceCertificate = z.infer<typeof deviceCertificateSchema>;

/** A fresh ECDSA P-256 key, PKCS #8 in PEM. */
export function makeKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export const requestFor = (deviceId: string, keyPem: string): string =>
  certificateRequestPem(deviceId, createPrivateKey(keyPem));

/** As the controller shows it to the person who approves: SHA-256 of the public key, hexadecimal. */
export function keyDigest(keyPem: string): string {
  const publicKey = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(publicKey).digest('hex');
}

/** Proof to the controller that who asks for a new certificate has the key of the present one. */
export function proofFor(
  deviceId: DeviceId,
  present: DeviceCertificate,
  csr: string,
): { readonly certificate: string; readonly signature: string } {
  const signature = sign('sha256', Buffer.from(renewalText(deviceId, csr)), present.keyPem).toString('base64');
  return { certificate: present.certificate, signature };
}

/**
 * Takes what a controller has answered, once it is seen to be a certificate of our key, by the authority it names and,
 * where the join token pins one, by that. Throws `enrol.foreign-authority`.
 */
export function acceptCertificate(tls: DeviceTls, keyPem: string, pin: string | undefined): DeviceCertificate {
  try {
    const [certificate, authority] = [new X509Certificate(tls.certificate), new X509Certificate(tls.authority)];
    if (pin !== undefined && fingerprint(authority) !== pin)
      throw new Error('it is not the one that the join token names');
    if (!authority.ca || !certificate.verify(authority.publicKey)) throw new Error('it has not signed the certificate');
    if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) throw new Error('the certificate is of another key');
  } catch (cause) {
    throw foreignAuthority(messageOf(cause), cause);
  }
  return { schema: 'fleetgate-certificate/1', keyPem, ...tls };
}

export function foreignAuthority(why: string, cause?: unknown): FleetError {
  return new FleetError('enrol.foreign-authority', `the authority of the controller's answer is not trusted: ${why}`, {
    hint: 'is --controller the address of the controller that made the join token, and is nobody between?',
    cause,
  });
}

/** When to renew: after two thirds of its time, so that there is time to try again. */
export function renewalTime({ certificate }: DeviceCertificate): UnixMs {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return unixMs(from + (2 * (to - from)) / 3);
}

/** The authority that a join token pins: `fgj.<id>.<secret>.<SHA-256 of its certificate, base64url>`. */
export function pinOf(joinToken: string): string | undefined {
  const [mark, , , pin] = joinToken.split('.');
  return mark === 'fgj' && pin !== undefined && pin !== '' ? pin : undefined;
}

function fingerprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('base64url');
}

import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** A certificate that an authority has issued, as it is handed out. */
export interface IssuedCertificate {
  readonly pem: string;
  /** Upper-case hexadecimal, 32 digits, as Node shows the serial number of a peer. */
  readonly serial: string;
  /** SHA-256 of the certified public key (its SubjectPublicKeyInfo), lower-case hexadecimal. */
  readonly keySha256: string;
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
}

/** A private key with its certificate. The key never leaves the machine it is for. */
export interface KeyedCertificate extends IssuedCertificate {
  readonly keyPem: string;
}

/** The part of an authority that has to be kept: whoever has it can let anybody in. */
export interface AuthorityKey {
  readonly keyPem: string;
  readonly certificatePem: string;
}

/** Name of the embedded broker in its certificate: who pins the authority asks for it, by whatever address it is reached. */
export const brokerNameOf = (fleet: string): string => `broker.${fleet}.fleetgate`;

import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { z } from 'zod';

import type { Clock } from '@fleetgate/shared/clock';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import { type Random, SECRET_CHARACTERS } from '@fleetgate/shared/random';

import { type DeviceCertificate, deviceCertificateSchema, makeKey } from './device-certificate.js';
import { type Identity, identitySchema } from './identity.js';

const APPLICATION_FILE = 'enrolment.json';
const CERTIFICATE_FILE = 'certificate.json';

/** The identity kept in `dataDir`; undefined before enrolment. Throws `store.corrupt`. */
export function readIdentity(dataDir: string): Identity | undefined {
  return readJsonFile<Identity>(join(dataDir, 'identity.json'), identitySchema);
}

export function writeIdentity(dataDir: string, identity: Identity): void {
  writeJsonFile(join(dataDir, 'identity.json'), identity);
  rmSync(join(dataDir, APPLICATION_FILE), { force: true });
}

/** Undefined where the device has none. Throws `store.corrupt`. */
export function readCertificate(dataDir: string): DeviceCertificate | undefined {
  return readJsonFile<DeviceCertificate>(join(dataDir, CERTIFICATE_FILE), deviceCertificateSchema);
}

/** Key and certificate in one file: a crash never leaves one without the other. Undefined: what an earlier enrolment left is removed. */
export function writeCertificate(dataDir: string, certificate: DeviceCertificate | undefined): void {
  const path = join(dataDir, CERTIFICATE_FILE);
  if (certificate === undefined) rmSync(path, { force: true });
  else writeJsonFile(path, certificate);
}

/** What an enrolment is known by. */
export interface Application {
  readonly nonce: string;
  readonly keyPem: string;
}

/**
 * Nonce and key of the enrolment under way, kept until there is an identity: when the controller's answer is lost, also by
 * our own death, who asks again with them is known as the one who asked before.
 */
export function enrolmentApplication(dataDir: string, random: Random): Application {
  const path = join(dataDir, APPLICATION_FILE);
  const kept = readApplication(path);
  if (kept?.keyPem !== undefined) return { nonce: kept.nonce, keyPem: kept.keyPem };
  const application = { nonce: kept?.nonce ?? random.token(SECRET_CHARACTERS), keyPem: makeKey() };
  writeJsonFile(path, application);
  return application;
}

function readApplication(path: string): { readonly nonce: string; readonly keyPem?: string | undefined } | undefined {
  try {
    return readJsonFile(
      path,
      z.object({ nonce: z.string().length(SECRET_CHARACTERS), keyPem: z.string().min(1).optional() }),
    );
  } catch {
    // A damaged file costs what a lost one costs: an enrolment that was under way finds its name taken.
    return undefined;
  }
}

/** Numbers the sessions of a device. */
export interface Epochs {
  /** Greater than every number given before, in this process or an earlier one. */
  next(): number;
}

/**
 * Session numbers kept on disk and seeded by the clock: they grow when the file is lost (the clock went on) and when
 * the clock went back (the file remembers).
 */
export function diskEpochs(dataDir: string, clock: Clock): Epochs {
  const path = join(dataDir, 'epoch.json');
  const schema = z.object({ epoch: z.number().int().positive() });
  let last = 0;
  try {
    last = readJsonFile(path, schema)?.epoch ?? 0;
  } catch {
    // A torn file is as good as a lost one: the clock is ahead of every epoch it gave.
  }
  return {
    next: () => {
      last = Math.max(last + 1, clock.now());
      writeJsonFile(path, { epoch: last });
      return last;
    },
  };
}

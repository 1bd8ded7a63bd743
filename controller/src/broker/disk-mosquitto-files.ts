import { createPrivateKey, X509Certificate } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { writeTextFile } from '@fleetgate/shared/disk-json';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { FleetId } from '@fleetgate/shared/ids';

import { milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { TlsMaterial } from './aedes-tls-listener.js';
import type { BrokerUser } from './broker-user.js';
import {
  emqxAcl,
  mosquittoAcl,
  mosquittoConfig,
  mosquittoNamedAcl,
  mosquittoPasswords,
  mosquittoTlsConfig,
} from './mosquitto-config.js';

/** The mosquitto that reads them gives up root first: its group may read, nobody else. */
const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;
/** A broker that nobody touches for a month should not run out in that time. */
const LEAST_LEFT = milliseconds(45 * 86_400_000);

/** Files that let a fleet into a mosquitto which somebody else runs. */
export interface MosquittoFiles {
  /** Lines for the configuration of that mosquitto. */
  readonly config: string;
  /** Puts users into the files; mosquitto takes them up when it is told to read them again (SIGHUP). */
  setUsers(users: readonly BrokerUser[]): Promise<void>;
}

/** What a listener that takes certificates shows, and whom it does not take. */
export interface BrokerCertificates {
  readonly authorityPem: string;
  /** Made when what is kept is not good for long any more. */
  readonly make: () => Promise<TlsMaterial>;
  readonly revocationList: () => Promise<string>;
}

/** Files by which devices are let in with a password, in `folder`. Throws `data-dir.not-writable`. */
export function openMosquittoFiles(folder: string, fleet: FleetId): MosquittoFiles {
  prepare(folder);
  const passwordPath = join(folder, 'passwords');
  const aclPath = join(folder, 'acl');
  return {
    config: mosquittoConfig({ passwordPath, aclPath }),
    setUsers: async (users) => {
      const controller = users.find(({ role }) => role === 'controller')?.username ?? '';
      writeTextFile(aclPath, mosquittoAcl(fleet, controller), FILE_MODE);
      writeTextFile(passwordPath, mosquittoPasswords(users), FILE_MODE);
    },
  };
}

/**
 * Files by which devices are let in with a certificate, in `folder`; beside those of mosquitto the rights in the form of
 * EMQX (`emqx-acl.conf`). Throws `data-dir.not-writable`.
 */
export async function openCertificateFiles(
  folder: string,
  fleet: FleetId,
  certificates: BrokerCertificates,
  now: UnixMs,
): Promise<MosquittoFiles> {
  prepare(folder);
  const path = (name: string): string => join(folder, name);
  const paths = {
    authorityPath: path('authority.pem'),
    certificatePath: path('broker.pem'),
    keyPath: path('broker.key'),
    revokedPath: path('revoked.pem'),
    aclPath: path('acl'),
  };
  const { authorityPem, make, revocationList } = certificates;
  if (!isGood(paths, authorityPem, now)) {
    const { keyPem, certificatePem } = await make();
    writeTextFile(paths.keyPath, keyPem, FILE_MODE);
    writeTextFile(paths.certificatePath, certificatePem, FILE_MODE);
  }
  writeTextFile(paths.authorityPath, authorityPem, FILE_MODE);
  return {
    config: mosquittoTlsConfig(paths),
    setUsers: async (users) => {
      const controller = users.find(({ role }) => role === 'controller')?.username ?? '';
      writeTextFile(paths.aclPath, mosquittoNamedAcl(fleet, users), FILE_MODE);
      writeTextFile(path('emqx-acl.conf'), emqxAcl(fleet, controller), FILE_MODE);
      writeTextFile(paths.revokedPath, await revocationList(), FILE_MODE);
    },
  };
}

function prepare(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${folder} cannot be written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --broker-files',
      cause,
    });
  }
}

/** Whether the kept certificate fits its key, is of this authority, and has time left. */
function isGood(
  { certificatePath, keyPath }: { readonly certificatePath: string; readonly keyPath: string },
  authorityPem: string,
  now: UnixMs,
): boolean {
  try {
    const certificate = new X509Certificate(readFileSync(certificatePath));
    const fits = certificate.checkPrivateKey(createPrivateKey(readFileSync(keyPath)));
    const left = Date.parse(certificate.validTo) - now;
    return fits && left > LEAST_LEFT && certificate.verify(new X509Certificate(authorityPem).publicKey);
  } catch {
    // Missing, damaged or half of a pair: made anew.
    return false;
  }
}

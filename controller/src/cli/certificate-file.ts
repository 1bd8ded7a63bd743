import { access, constants, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { gzipSync } from 'node:zlib';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import type { Certificate } from '../optimiser/certificate.js';

/** Refuses, before a long solve, a place where its proof could not be written, or where it would replace the instance. */
export async function checkPlace(file: string, instance: string): Promise<void> {
  const there = await stat(file).catch(() => undefined);
  if (there?.isDirectory() === true) throw refused(file, 'it is a directory');
  const read = await stat(instance).catch(() => undefined);
  if (there !== undefined && there.ino === read?.ino && there.dev === read.dev)
    throw refused(file, 'it is the instance');
  try {
    await access(there === undefined ? dirname(file) : file, constants.W_OK);
  } catch (error) {
    throw refused(file, messageOf(error));
  }
}

/** Gzip where the name ends in `.gz`. */
export async function writeCertificate(file: string, certificate: Certificate): Promise<void> {
  const text = JSON.stringify(certificate);
  try {
    await writeFile(file, file.endsWith('.gz') ? gzipSync(text) : text);
  } catch (error) {
    throw refused(file, messageOf(error));
  }
}

function refused(file: string, reason: string): FleetError {
  return new FleetError('usage.invalid', `${file}: the certificate cannot be written: ${reason}`, {
    hint: 'give --certificate the name of a new file in a folder that you may write to',
  });
}

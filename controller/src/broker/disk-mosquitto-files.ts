import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { writeTextFile } from '@fleetgate/shared/disk-json';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { FleetId } from '@fleetgate/shared/ids';

import type { BrokerUser } from './broker-user.js';
import { mosquittoAcl, mosquittoConfig, mosquittoPasswords } from './mosquitto-config.js';

/** The mosquitto that reads them gives up root first: its group may read, nobody else. */
const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;

/** Files that let a fleet into a mosquitto which somebody else runs. */
export interface MosquittoFiles {
  /** Lines for the configuration of that mosquitto. */
  readonly config: string;
  /** Puts users into the files; mosquitto takes them up when it is told to read them again (SIGHUP). */
  setUsers(users: readonly BrokerUser[]): Promise<void>;
}

/** Files in `folder`, which is made when it is not there. Throws `data-dir.not-writable`. */
export function openMosquittoFiles(folder: string, fleet: FleetId): MosquittoFiles {
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${folder} cannot be written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --broker-files',
      cause,
    });
  }
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

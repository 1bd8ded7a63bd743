/** Keeps what traffic has shown of the gate's classes: saved beside the gate. */
import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { ClassFollowing } from './gating/class-following.js';
import { type ClassRecord, fromClassRecord, toClassRecord } from './gating/class-record.js';
import type { Gate } from './gating/gate.js';
import { fingerprintOf } from './gating/gate-fingerprint.js';
import { readJsonFile, setAsideFile, writeJsonFile } from './platform/disk-json-file.js';

/** Classes are found and forgotten this often at most, and what was seen within it is lost by a crash. */
const REVIEW_PERIOD = milliseconds(60_000);

export interface KeptClasses {
  readonly following: ClassFollowing;
  /** Saves for the last time. */
  close(): Promise<void>;
}

/** Reads back what was followed of `gate`'s classes; a damaged file is set aside, with a warning. */
export async function openClasses(path: string, gate: Gate, clock: Clock, log: Logger): Promise<KeptClasses> {
  const kept = await restored(path, log);
  const following = new ClassFollowing({ gate: () => gate, fingerprint: fingerprintOf(() => gate), kept, clock, log });
  const save = async (): Promise<void> => {
    const record = following.record();
    if (record === undefined) return;
    try {
      await writeJsonFile(path, toClassRecord(record));
    } catch (error) {
      log.warn('classes.not-saved', { reason: messageOf(error) });
    }
  };
  let saving = Promise.resolve();
  const stop = clock.every(REVIEW_PERIOD, () => {
    following.review();
    saving = saving.then(save);
  });
  return {
    following,
    close: async () => {
      stop();
      await saving;
      await save();
    },
  };
}

async function restored(path: string, log: Logger): Promise<ClassRecord | undefined> {
  let reason = 'no JSON';
  try {
    const record = await readJsonFile(path);
    if (record !== undefined) return fromClassRecord(record);
  } catch (error) {
    if (!isFleetError(error, 'store.corrupt')) throw error;
    reason = error.message;
  }
  if (await setAsideFile(path)) log.warn('classes.set-aside', { path, reason });
  return undefined;
}

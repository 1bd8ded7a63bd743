import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { profileSchema, type SlabProfile } from './profile.js';

/** Metadata key of a profile within its model's file: the JSON that `gguf profile` writes. */
export const PROFILE_KEY = 'fleetgate.profile';

/** Each prompt is compared with all of them. */
const MOST_TASKS = 256;

/** The profile that a file brings along; undefined where it has none. Throws `gguf.malformed` for what is none. */
export function embeddedProfile({ metadata }: Pick<GgufHeader, 'metadata'>, where: string): SlabProfile | undefined {
  const text = metadata.get(PROFILE_KEY)?.value;
  if (text === undefined) return undefined;
  const hint = 'write it anew with `fleetgate gguf embed`';
  let value: unknown;
  try {
    value = JSON.parse(typeof text === 'string' ? text : '');
  } catch (cause) {
    throw new FleetError('gguf.malformed', `${where}: ${PROFILE_KEY} is no profile: ${messageOf(cause)}`, {
      cause,
      hint,
    });
  }
  const profile = check(profileSchema, value, 'gguf.malformed', `${where}: ${PROFILE_KEY}`, { hint });
  const tasks = Object.keys(profile.tasks).length;
  if (tasks >= 1 && tasks <= MOST_TASKS) return profile;
  throw new FleetError('gguf.malformed', `${where}: ${PROFILE_KEY} has ${tasks} tasks, expected 1 to ${MOST_TASKS}`, {
    hint,
  });
}

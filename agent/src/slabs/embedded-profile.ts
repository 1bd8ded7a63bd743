import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { profileSchema, type SlabProfile } from './profile.js';

/** Metadata key of a profile within its model's file: the JSON that `gguf profile` writes. */
export const PROFILE_KEY = 'fleetgate.profile';

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
  return check(profileSchema, value, 'gguf.malformed', `${where}: ${PROFILE_KEY}`, { hint });
}

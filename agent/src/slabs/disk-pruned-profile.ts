import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { assembledRouterDigest } from '../gguf/disk-router-digest.js';
import type { Pruning } from '../gguf/prune.js';
import { embeddedProfile, PROFILE_KEY } from './embedded-profile.js';
import { prunedProfile } from './profile.js';
import type { KeepSets } from './routing.js';

/**
 * A pruning of a file that brings its profile along, with the profile pruned alike: as it is, it would be the one of another
 * model. Throws `gguf.malformed` for a profile that is none.
 */
export async function withProfile(header: GgufHeader, keep: KeepSets, pruning: Pruning): Promise<Pruning> {
  const profile = embeddedProfile(header, 'the file to be pruned');
  if (profile === undefined) return pruning;
  const pruned = prunedProfile(profile, keep, await assembledRouterDigest(pruning.tensors));
  return { ...pruning, changes: new Map([...pruning.changes, [PROFILE_KEY, JSON.stringify(pruned)]]) };
}

import type { KeyObject } from 'node:crypto';

import { checkRelease } from '@fleetgate/shared/catalogue/release';
import { FleetError } from '@fleetgate/shared/errors';
import type { DesiredVariant } from '@fleetgate/shared/protocol/twin';

import type { AcceptedReleases } from './disk-accepted-releases.js';

/** What a device goes by where it takes builds of experts. */
export interface VariantReleases {
  /** Why it must not take this one; undefined: it may. */
  refusal(variant: DesiredVariant): FleetError | undefined;
  /** It was taken: nothing older by its name is from now on. */
  taken(variant: DesiredVariant): void;
}

/**
 * By the release that comes with a variant: signed with one of `keys`, of its file, and not older than what was taken.
 * A variant without one is taken, but where the device takes `signedOnly`.
 */
export function variantReleases(
  keys: readonly KeyObject[],
  accepted: AcceptedReleases,
  signedOnly: boolean,
): VariantReleases {
  return {
    refusal: ({ variantId, sha256, release }) => {
      if (release === undefined) return signedOnly ? unsigned(variantId) : undefined;
      // Nobody has told this device whom to trust.
      if (keys.length === 0 && !signedOnly) return undefined;
      const { kind, name, sha256: signed } = release.manifest;
      if (kind !== 'variant' || name !== variantId || signed !== sha256) {
        return new FleetError('release.tampered', `the release that comes with ${variantId} is of ${kind} ${name}`, {
          hint: `signed: sha256 ${signed}; to be taken: ${sha256}`,
        });
      }
      return checkRelease(release, keys, accepted.greatest(release.manifest));
    },
    taken: ({ release }) => {
      if (release !== undefined && keys.length > 0) accepted.accept(release.manifest);
    },
  };
}

function unsigned(variantId: string): FleetError {
  return new FleetError('release.untrusted', `${variantId} comes without a signed release`, {
    hint: 'this device takes signed builds only (--signed-only): `fleetgate releases sign --kind variant`',
  });
}

import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { routerDigest } from '../gguf/disk-router-digest.js';
import type { SlabLayout } from '../gguf/slab-layout.js';
import { embeddedProfile } from '../slabs/embedded-profile.js';
import { checkProfile } from '../slabs/profile.js';
import { type ServedTasks, servedTasks } from '../slabs/task-patterns.js';
import type { EngineModel } from './engine.js';

/**
 * What the profile within a model's file says about its tasks; a text where it cannot be used, undefined where there is none.
 *
 * Where the serving asks for it (`taskMask`, `task`), throws `gguf.unsupported` for a file without one, `gguf.malformed` for
 * what is none or one of another model, `usage.invalid` for a task or a number of slabs that it does not have.
 */
export async function openTasks(
  header: GgufHeader,
  layout: SlabLayout,
  { path, serving }: EngineModel,
): Promise<ServedTasks | string | undefined> {
  const isAskedFor = serving?.taskMask !== undefined || serving?.task !== undefined;
  try {
    const profile = embeddedProfile(header, path);
    if (profile !== undefined) {
      const { architecture, layers, slabsPerLayer } = layout;
      const router = await routerDigest(path, header);
      checkProfile(
        profile,
        { path, architecture, router, layers: layers.length, slabsPerLayer },
        path,
        'gguf.malformed',
      );
      return servedTasks(profile, layout, serving);
    }
  } catch (error) {
    if (isAskedFor || !isFleetError(error, 'gguf.malformed')) throw error;
    return error.message;
  }
  if (!isAskedFor) return undefined;
  throw new FleetError('gguf.unsupported', `${path} brings no profile along, which serving it by task needs`, {
    hint: '`fleetgate gguf embed` writes one into a model file',
  });
}

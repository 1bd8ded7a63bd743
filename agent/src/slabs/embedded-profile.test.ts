import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isFleetError } from '@fleetgate/shared/errors';
import type { GgufEntry } from '@fleetgate/shared/gguf/header';

import { embeddedProfile, PROFILE_KEY } from './embedded-profile.js';

const headerOf = (value: GgufEntry['value']) => ({
  metadata: new Map([[PROFILE_KEY, { value, offset: 0, byteLength: 0 }]]),
});
const task = { documents: 1, tokens: 1, reasoningTokens: 0, layers: [] };
const profile = (tasks: object) => ({
  schema: 'fleetgate-profile/1',
  model: { architecture: 'qwen3moe', router: 'a'.repeat(64), layers: 1, slabsPerLayer: 4, slabsPerToken: 2 },
  tasks,
});

describe('embeddedProfile', () => {
  it('is none in a file without one, and what was written in a file with one', () => {
    expect(embeddedProfile({ metadata: new Map() }, 'f')).toBeUndefined();
    const made = profile({ math: task });
    expect(embeddedProfile(headerOf(JSON.stringify(made)), 'f')).toEqual(made);
  });

  it('is refused whatever else is there', () => {
    const values = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.json(),
      fc.constant('['.repeat(100_000)),
      fc.constant(JSON.stringify(profile({}))),
      fc.constant(JSON.stringify(profile(Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`t${i}`, task]))))),
      fc.constant({ elementType: 'string' as const, length: 1, elements: ['x'] }),
    );
    fc.assert(
      fc.property(values, (value) => {
        try {
          embeddedProfile(headerOf(value), 'f');
        } catch (error) {
          expect(isFleetError(error, 'gguf.malformed')).toBe(true);
          return;
        }
        throw new Error('it was taken for a profile');
      }),
    );
  });
});

import type { CandidateView } from '@fleetgate/shared/api/operations';
import { SeededRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { aPrompt } from './dispatch-fixtures.js';
import { EXCLUSIONS } from './candidates.js';
import { decodeRecord, encodeRecord } from './record-codec.js';
import { newRequestId, openRecord, recordEnd } from './request-record.js';

const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9._-]{0,20}[a-z0-9])?$/);
// JSON has one zero.
const figure = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const candidate: fc.Arbitrary<CandidateView> = fc.record({
  expertId: name,
  variantId: name,
  deviceId: fc.option(name),
  quality: figure,
  qualitySd: figure,
  latencyMs: fc.option(figure),
  energyJ: fc.option(figure),
  value: fc.option(figure),
  chosen: fc.boolean(),
  excluded: fc.option(fc.constantFrom(...EXCLUSIONS)),
});

const now = unixMs(1_700_000_000_000);
const aRecord = () => openRecord(newRequestId(now, new SeededRandom(3)), aPrompt(), 'auto', now, true);

test('a record is read as it was written, in every state', () => {
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 32 }), fc.string(), (candidates, why) => {
      const record = { ...aRecord(), candidates, why };
      expect(decodeRecord(encodeRecord(record))).toEqual(record);
      const ended = recordEnd(record, 'succeeded', now);
      expect(decodeRecord(encodeRecord(ended))).toEqual(ended);
    }),
  );
});

test('a record of a version that kept whole candidates is read', () => {
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 3 }), (candidates) => {
      const record = { ...aRecord(), candidates };
      expect(decodeRecord(JSON.stringify(record))).toEqual(record);
    }),
  );
});

test('what is no figure is null, as JSON has it', () => {
  fc.assert(
    fc.property(candidate, (one) => {
      const record = { ...aRecord(), candidates: [{ ...one, value: -Infinity }] };
      expect(decodeRecord(encodeRecord(record)).candidates[0]?.value).toBeNull();
    }),
  );
});

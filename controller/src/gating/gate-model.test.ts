import { beforeAll, describe, expect, test } from 'vitest';

import { decodeGateModel, encodeGateModel } from './gate-model.js';
import { syntheticOutcomes } from './outcomes.fixture.js';
import { trainGate } from './train-gate.js';

let text = '';
beforeAll(() => {
  text = encodeGateModel(trainGate(syntheticOutcomes(60)));
});

const refused = (message: RegExp) =>
  expect.objectContaining({ code: 'gate.invalid-model', message: expect.stringMatching(message) as string });

describe('a gate file', () => {
  test.each([
    ['an empty file', () => '', /do not parse/],
    ['something else', () => '{"hello":1}', /schema/],
    [
      'a file of a later version',
      () => text.replace('fleetgate-gate/2', 'fleetgate-gate/3'),
      /version 3, this Fleetgate reads version 2/,
    ],
    ['a file of an earlier version', () => '{"schema":"fleetgate-gate/1","seed":1}', /version 1.*reads version 2/],
    ['a gate of other features', () => text.replace('"featuresVersion":2', '"featuresVersion":7'), /featuresVersion/],
    ['a file that was cut short', () => text.slice(0, text.length / 2), /do not parse/],
    ['a file without its end', () => `${text.slice(0, text.lastIndexOf(',"digest"'))}}`, /cut short/],
    ['a changed figure', () => text.replace(/"temperature":\d+/, '"temperature":5'), /changed or damaged/],
    ['a changed weight', () => text.replace(/("directions":"....)./, '$1/'), /changed or damaged/],
  ])('%s is refused', (_, build, message) => {
    expect(() => decodeGateModel(build(), 'gate.json')).toThrow(refused(message));
  });
});

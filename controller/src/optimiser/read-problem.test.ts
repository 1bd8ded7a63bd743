import { describe, expect, it } from 'vitest';

import { referenceDocument } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { ignoredFields } from './ignored-fields.js';
import { readGate, readProblem } from './read-problem.js';

const fleet = smallFleet();
const [first, ...others] = fleet.classes;
const withClass = (change: object) => ({ ...fleet, classes: [{ ...first, ...change }, ...others] });
const withDevice = (change: object) => ({
  ...fleet,
  devices: fleet.devices.map((each, d) => (d === 0 ? { ...each, ...change } : each)),
});
const withBudgets = (change: object) => ({ ...fleet, budgets: { ...fleet.budgets, ...change } });

describe('readProblem', () => {
  it('takes figures up to what can be reckoned with', () => {
    expect(readProblem(withBudgets({ powerW: 1e12 }), 'x').budgets.powerW).toBe(1e12);
    expect(readProblem(withClass({ weight: 0, rate: 1e-12 }), 'x').classes[0]).toMatchObject({
      weight: 0,
      rate: 1e-12,
    });
  });

  it.each<[string, object, string]>([
    ['a number as text', withClass({ rate: 'NaN' }), 'classes.0.rate: expected a number, got "NaN"'],
    ['what is missing', withBudgets({ powerW: undefined }), 'budgets.powerW: expected a number, got nothing'],
    ['what is below 0', withClass({ rate: -1 }), 'classes.0.rate: expected a number from 0, got -1'],
    ['Infinity', withClass({ rate: Infinity }), 'classes.0.rate: expected a number, got Infinity'],
    ['overflowing weights', withClass({ weight: 1e308 }), 'classes.0.weight: expected a number up to 1e12, got 1e308'],
    ['vanishing rates', withClass({ rate: 1e-308 }), 'classes.0.rate: expected 0 or a number from 1e-12, got 1e-308'],
    [
      'an overflowing budget',
      withBudgets({ powerW: 1e308 }),
      'budgets.powerW: expected a number up to 1e12, got 1e308',
    ],
    ['a share in percent', withClass({ minServed: 95 }), 'classes.0.minServed: expected a number up to 1, got 95'],
    ['no devices at all', withDevice({ count: 0 }), 'devices.0.count: expected a number above 0, got 0'],
    ['parts of devices', withDevice({ count: 1.5 }), 'devices.0.count: expected a whole number, got 1.5'],
    ['too many devices', withDevice({ count: 1e15 }), 'devices.0.count: expected a number up to 1e9, got 1e15'],
    ['no modes', withDevice({ modes: [] }), 'devices.0.modes: expected a list with a length from 1, got a list of 0'],
    ['another schema', { ...fleet, schema: 'fleet-opt/2' }, 'schema: expected "fleet-opt/1", got "fleet-opt/2"'],
    ['a text for a list', { ...fleet, devices: 'x'.repeat(100) }, `devices: expected a list, got "${'x'.repeat(39)}…"`],
  ])('says of %s what was expected and what it got', (_, document, fault) => {
    expect(() => readProblem(document, 'fleet.json')).toThrow(`fleet.json: ${fault}`);
  });

  it('says each place once, and what to do', () => {
    let error: unknown;
    try {
      readProblem(withDevice({ count: 1e300 }), 'fleet.json');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'instance.invalid', hint: expect.stringContaining('docs/formulation.md') });
    expect(String(error).match(/devices\.0\.count/g)).toHaveLength(1);
  });
});

describe('readGate', () => {
  it('says what was expected and what it got', () => {
    const { document } = referenceDocument('gate-01-n8');
    expect(readGate(document, 'x')).toMatchObject({ kind: 'gate', experts: 8 });
    expect(() => readGate({ ...(document as object), experts: 1e9, quality: null }, 'gate.json')).toThrow(
      'gate.json: experts: expected a number up to 1000, got 1e9; quality: expected a list, got null',
    );
  });
});

describe('ignoredFields', () => {
  it('has nothing to say on reference instances, nor on what is added at the top', () => {
    for (const name of ['fleet-01-plain', 'fleet-07-move-budget', 'fleet-13-symmetric'])
      expect(ignoredFields(referenceDocument(name).document)).toEqual([]);
    expect(ignoredFields({ ...fleet, expected: 1, author: 'me' })).toEqual([]);
  });

  it('names each field that means nothing, once', () => {
    const odd = {
      ...withBudgets({ power_W: 7 }),
      classes: fleet.classes.map((each) => ({ ...each, maxEnergyJ: 1, '\u001b[2J': 1 })),
      devices: fleet.devices.map((each, d) => (d === 1 ? { ...each, modes: [{ id: 'm', idleW: 1, cap: 3 }] } : each)),
    };
    expect(ignoredFields(odd)).toEqual([
      'budgets.power_W is no field of fleet-opt/1 and was ignored.',
      'classes.0.maxEnergyJ (and 1 more) is no field of fleet-opt/1 and was ignored.',
      'classes.0."\\u001b[2J" (and 1 more) is no field of fleet-opt/1 and was ignored.',
      'devices.1.modes.0.cap is no field of fleet-opt/1 and was ignored.',
    ]);
  });
});

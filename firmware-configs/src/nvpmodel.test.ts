import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ORIN_NANO_TABLE } from './board-tree.fixture.js';
import { parsePowerModeInForce, parsePowerModes, powerModeNamed } from './nvpmodel.js';

describe('the table of power modes', () => {
  const { modes, defaultId } = parsePowerModes(ORIN_NANO_TABLE);

  it('gives every mode with what it caps and switches off', () => {
    expect(modes.map(({ id, name }) => `${id} ${name}`)).toEqual(['0 15W', '1 25W', '2 MAXN_SUPER', '3 7W']);
    expect(defaultId).toBe(1);
    expect(modes[3]).toEqual({
      id: 3,
      name: '7W',
      onlineCores: [0, 1],
      cpuMaxKHz: 960_000,
      gpuMaxHz: 408_000_000,
      memoryMaxHz: 2_133_000_000,
      gating: new Map([
        ['FBP_PG_MASK', '2'],
        ['TPC_PG_MASK', '252'],
      ]),
    });
  });

  it('takes -1 and 0 for no cap', () => {
    expect(modes[2]).toMatchObject({ cpuMaxKHz: undefined, gpuMaxHz: undefined, memoryMaxHz: undefined });
  });

  it('takes fields in any order, and leaves out modes without a number, without a name, or twice', () => {
    const text =
      '< POWER_MODEL NAME=MAXN ID=7 >\n< POWER_MODEL ID=1 >\n< POWER_MODEL NAME=X >\n< POWER_MODEL ID=7 NAME=Y >';
    expect(parsePowerModes(text).modes.map(({ id, name }) => `${id} ${name}`)).toEqual(['7 MAXN']);
  });

  it('makes something of any text, and never fails', () => {
    const line = fc.oneof(fc.string(), fc.constantFrom(...ORIN_NANO_TABLE.split('\n')));
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const table = parsePowerModes(lines.join('\n'));
        expect(new Set(table.modes.map(({ id }) => id)).size).toBe(table.modes.length);
      }),
    );
  });
});

describe('the mode in force', () => {
  it.each([
    ['NV Power Mode: 25W\n1\n', 1],
    ['NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0', 0],
    ['NVPM VERB: Current mode: NV Power Mode: MODE_30W\n2\nNVPM VERB: PARAM CPU_ONLINE: ARG CORE_0', 2],
    ['pmode:0003', 3],
    ['', undefined],
    ['NVPM ERROR: failed to parse /etc/nvpmodel.conf', undefined],
  ])('is read from %j', (text, expected) => {
    expect(parsePowerModeInForce(text)).toBe(expected);
  });
});

describe('a mode by name', () => {
  it('is the first that the table has, whatever NVIDIA put before the watts', () => {
    const { modes } = parsePowerModes('< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_30W >');
    expect(powerModeNamed(modes, ['25W', '30w', 'MAXN'])?.id).toBe(2);
    expect(powerModeNamed(modes, ['25W'])).toBeUndefined();
  });
});

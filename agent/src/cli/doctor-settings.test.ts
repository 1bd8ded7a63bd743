import { describe, expect, it } from 'vitest';

import { type BoardState, NO_SETTINGS } from '@fleetgate/firmware-configs/board-state';
import { parsePowerModes } from '@fleetgate/firmware-configs/nvpmodel';

import { ORIN_NANO_TABLE } from '../../../firmware-configs/src/board-tree.fixture.ts';
import { settingsFinding } from './doctor-settings.js';

const MODES = parsePowerModes(ORIN_NANO_TABLE).modes;
const cores = (governor: string, governors: readonly string[]): BoardState['cpu'] => [
  { path: '/policy0', governor, governors, cap: 1, hardwareMax: 1, frequencies: [] },
];

describe('what the doctor says of settings', () => {
  it.each<[string, Parameters<typeof settingsFinding>[0], Partial<BoardState>, string, RegExp]>([
    ['a Jetson in a mode', 'jetson', { powerModes: MODES, powerModeId: 1 }, 'ok', /^power mode 25W$/],
    ['a Jetson that does not say its mode', 'jetson', { powerModes: MODES }, 'limited', /cannot be read/],
    ['a Jetson without its table', 'jetson', {}, 'limited', /no \/etc\/nvpmodel.conf/],
    [
      'cores at their lowest',
      'raspberry-pi',
      { cpu: cores('powersave', ['ondemand', 'powersave']) },
      'limited',
      /powersave/,
    ],
    [
      'powersave of a driver that chooses',
      'linux',
      { cpu: cores('powersave', ['performance', 'powersave']) },
      'ok',
      /powersave/,
    ],
    ['a phone', 'phone', {}, 'ok', /its own/],
    ['a virtual machine', undefined, {}, 'ok', /no power mode and no governor/],
  ])('%s', (_, kind, state, verdict, found) => {
    expect(settingsFinding(kind, { ...NO_SETTINGS, ...state })).toMatchObject({
      subject: 'settings',
      state: verdict,
      found: expect.stringMatching(found) as string,
    });
  });
});

import type { BoardState } from '@fleetgate/firmware-configs/board-state';
import { cpuGovernorOf, powerModeInForce } from '@fleetgate/firmware-configs/board-state';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';

import type { Finding } from './doctor.js';

/** What a board's power mode and governor cost its answers. `kind`: of the board that this machine is; undefined: of none. */
export function settingsFinding(kind: BoardProfile['kind'] | undefined, state: BoardState): Finding {
  const subject = 'settings';
  const mode = powerModeInForce(state);
  const governor = cpuGovernorOf(state);
  const found = [
    ...(mode === undefined ? [] : [`power mode ${mode}`]),
    ...(governor === undefined ? [] : [`governor ${governor}`]),
  ].join(', ');
  if (kind === 'phone') {
    return {
      subject,
      state: 'ok',
      found: found || 'those of a phone are its own',
      hint: 'only a thermal ceiling can be set',
    };
  }
  if (kind === 'jetson' && mode === undefined) {
    return {
      subject,
      state: 'limited',
      found: `${state.powerModes.length === 0 ? 'no /etc/nvpmodel.conf' : 'the power mode cannot be read'}; ${found || 'no governor'}`,
      hint: 'nvpmodel -q; a Jetson without its table of power modes cannot be set to one',
    };
  }
  if (governor === 'powersave' && !state.cpu.every(({ governors }) => isDriverManaged(governors))) {
    return {
      subject,
      state: 'limited',
      found,
      hint: 'the cores stay at their lowest clock: fleetgate board plan own, or another config',
    };
  }
  return { subject, state: 'ok', found: found || 'this machine shows no power mode and no governor' };
}

/** Drivers that choose clocks themselves (intel_pstate, amd-pstate-epp) offer these two, and `powersave` is their usual one. */
const isDriverManaged = (governors: readonly string[]): boolean =>
  governors.length === 2 && governors.includes('performance') && governors.includes('powersave');

import { type BoardState, type ClockDomain, powerModeInForce } from '@fleetgate/firmware-configs/board-state';
import type { PowerMode } from '@fleetgate/firmware-configs/nvpmodel';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { BoardConfig } from '@fleetgate/shared/catalogue/board-config';

import { table } from './bench-tables.js';

/** What `fleetgate board show` says to a person. */
export function boardLines(profile: BoardProfile, state: BoardState, configs: readonly BoardConfig[]): string[] {
  const { powerModes, cpu, gpu, firmware } = state;
  return [
    `${profile.title} (${profile.id})`,
    '',
    `power mode: ${powerModeInForce(state) ?? (powerModes.length === 0 ? 'this board has none' : 'unknown')}`,
    ...table(powerModes.map((mode) => modeRow(mode, state))),
    ...clockLines('cores', cpu, 1e3),
    ...clockLines('GPU', gpu, 1e6),
    ...firmware.map(({ key, value, filter }) => `firmware, read only: ${key}=${value} [${filter}]`),
    '',
    'configs that ship for it:',
    ...table(configs.map(({ name, description }) => ['', name, description])),
  ];
}

function modeRow(mode: PowerMode, { powerModeId }: BoardState): readonly string[] {
  return [
    mode.id === powerModeId ? ' *' : '',
    String(mode.id),
    mode.name,
    mode.onlineCores === undefined ? 'all cores' : `${mode.onlineCores.length} cores`,
    `CPU ${megahertz(mode.cpuMaxKHz, 1e3)}`,
    `GPU ${megahertz(mode.gpuMaxHz, 1e6)}`,
    `memory ${megahertz(mode.memoryMaxHz, 1e6)}`,
  ];
}

function clockLines(what: string, domains: readonly ClockDomain[], perMHz: number): readonly string[] {
  if (domains.length === 0) return [`${what}: no clock that can be set`];
  return domains.map(
    ({ path, governor, governors, cap, hardwareMax }) =>
      `${what}: ${governor} (of ${governors.join(', ') || 'unknown'}), capped at ${megahertz(cap, perMHz)} of ${megahertz(hardwareMax, perMHz)}; ${path}`,
  );
}

const megahertz = (value: number | undefined, perMHz: number): string =>
  value === undefined ? 'not capped' : `${Math.round(value / perMHz)} MHz`;

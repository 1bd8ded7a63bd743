import type { PowerMode } from './nvpmodel.js';

/** Clock of a group of cores (cpufreq) or of a GPU (devfreq): what it is set to and what it can be set to. */
export interface ClockDomain {
  /** Folder of its files, absolute on the board. */
  readonly path: string;
  readonly governor: string;
  /** Empty where the board does not say. */
  readonly governors: readonly string[];
  /** kHz for cores, Hz for a GPU: as the kernel's files have it. */
  readonly cap: number;
  /** Highest that the hardware has, same unit; undefined where the board does not say. */
  readonly hardwareMax: number | undefined;
  /** Ascending; empty where the board does not say. */
  readonly frequencies: readonly number[];
}

/** A line of a Raspberry Pi's config.txt that changes clocks, voltages or limits; `filter`: the section that it stands in. */
export interface FirmwareSetting {
  readonly key: string;
  readonly value: string;
  readonly filter: string;
}

/** What of a board's power settings could be read. */
export interface BoardState {
  /** The board's own table; empty where it has none. */
  readonly powerModes: readonly PowerMode[];
  readonly powerModeId: number | undefined;
  readonly cpu: readonly ClockDomain[];
  readonly gpu: readonly ClockDomain[];
  readonly firmware: readonly FirmwareSetting[];
}

/** Of a board that shows none. */
export const NO_SETTINGS: BoardState = { powerModes: [], powerModeId: undefined, cpu: [], gpu: [], firmware: [] };

/** Name of the power mode in force; undefined where the board has none or does not say. */
export function powerModeInForce({ powerModes, powerModeId }: BoardState): string | undefined {
  return powerModes.find(({ id }) => id === powerModeId)?.name;
}

/** The governor of all cores; undefined where they differ or there is none to read. */
export function cpuGovernorOf({ cpu }: BoardState): string | undefined {
  const [first, ...others] = new Set(cpu.map(({ governor }) => governor));
  return others.length === 0 ? first : undefined;
}

const FIRMWARE_KEYS =
  /^(?:arm_(?:boost|freq(?:_min)?)|gpu_freq|v3d_freq|over_voltage(?:_delta)?|temp_(?:soft_)?limit|force_turbo)$/;

/** Settings of clocks, voltages and limits in a Raspberry Pi's config.txt. */
export function parseFirmwareSettings(text: string): readonly FirmwareSetting[] {
  let filter = 'all';
  const settings: FirmwareSetting[] = [];
  for (const line of text.split('\n').map((raw) => raw.replace(/#.*/, '').trim())) {
    filter = /^\[(.+)\]$/.exec(line)?.[1] ?? filter;
    const [, key = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (FIRMWARE_KEYS.test(key)) settings.push({ key, value, filter });
  }
  return settings;
}

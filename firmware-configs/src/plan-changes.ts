import type { BoardConfig } from '@fleetgate/shared/catalogue/board-config';

import type { BoardState, ClockDomain } from './board-state.js';
import { type PowerMode, powerModeNamed } from './nvpmodel.js';

/** One change to a board. `was` is what it replaces. */
export type Step =
  | { readonly kind: 'power-mode'; readonly id: number; readonly name: string; readonly was: number | undefined }
  | { readonly kind: 'write'; readonly path: string; readonly value: string; readonly was: string };

/** Why a setting cannot be had on this board. */
export interface Obstacle {
  /** As the document names it, for example `gpu.maxHz`. */
  readonly setting: string;
  readonly reason: string;
}

export interface ChangePlan {
  /** In their order: a power mode resets governors and caps, so these come after it. Empty: the board is as it is to be. */
  readonly steps: readonly Step[];
  readonly obstacles: readonly Obstacle[];
}

/** What a board had of its own before anything was changed: values by file, and the number of its power mode. */
export interface OwnSettings {
  readonly powerModeId?: number | undefined;
  readonly files: Readonly<Record<string, string>>;
}

/**
 * What has to change for the board to be as `config` says. What the document does not name returns to the board's own
 * setting, where one was recorded as it was first changed.
 *
 * Caps are rounded down to a frequency that the clock has, and never lie above the power mode's own. A power mode that
 * switches other parts of the GPU off is an obstacle: boards do that only as they start, which is a person's decision.
 */
export function planChanges(config: BoardConfig, state: BoardState, own: OwnSettings): ChangePlan {
  const obstacles: Obstacle[] = [];
  const miss = (setting: string, reason: string): undefined => void obstacles.push({ setting, reason });
  const mode = wantedMode(config, state, own, miss);
  const isNewMode = mode !== undefined && mode.id !== state.powerModeId;
  if (isNewMode && needsRestart(mode, state)) {
    miss(
      'powerModes',
      `${mode.name} (${mode.id}) switches other parts of the GPU off, which takes a restart of the board`,
    );
  }
  const steps: Step[] = [];
  if (isNewMode) steps.push({ kind: 'power-mode', id: mode.id, name: mode.name, was: state.powerModeId });
  const inOwnMode = own.powerModeId === undefined || own.powerModeId === mode?.id;
  const cpu: Wanted = { kind: 'cpu', ...config.cpu, cap: config.cpu?.maxKHz, most: mode?.cpuMaxKHz, inOwnMode };
  const gpu: Wanted = { kind: 'gpu', ...config.gpu, cap: config.gpu?.maxHz, most: mode?.gpuMaxHz, inOwnMode };
  steps.push(...clockSteps(cpu, state.cpu, own, miss), ...clockSteps(gpu, state.gpu, own, miss));
  return { steps, obstacles };
}

type Miss = (setting: string, reason: string) => undefined;

/** The mode to be in: the document's, else the board's own, else the one in force. */
function wantedMode(config: BoardConfig, state: BoardState, own: OwnSettings, miss: Miss): PowerMode | undefined {
  const { powerModes, powerModeId } = state;
  if (config.powerModes === undefined) {
    const id = own.powerModeId ?? powerModeId;
    return powerModes.find((mode) => mode.id === id);
  }
  const names = config.powerModes.join(', ');
  if (powerModes.length === 0) return miss('powerModes', `this board has no table of power modes to find ${names} in`);
  const mode = powerModeNamed(powerModes, config.powerModes);
  if (mode !== undefined) return mode;
  return miss('powerModes', `the board's table has ${powerModes.map(({ name }) => name).join(', ')}, none of ${names}`);
}

function needsRestart(mode: PowerMode, { powerModes, powerModeId }: BoardState): boolean {
  const present = powerModes.find(({ id }) => id === powerModeId);
  return [...mode.gating].some(([mask, value]) => present?.gating.get(mask) !== value);
}

interface Wanted {
  readonly kind: 'cpu' | 'gpu';
  readonly governor?: string | undefined;
  readonly cap: number | undefined;
  /** The power mode's own cap. */
  readonly most: number | undefined;
  /** Whether the power mode is the board's own. */
  readonly inOwnMode: boolean;
}

const FILES = {
  cpu: { governor: 'scaling_governor', cap: 'scaling_max_freq', capSetting: 'cpu.maxKHz' },
  gpu: { governor: 'governor', cap: 'max_freq', capSetting: 'gpu.maxHz' },
} as const;

function clockSteps(wanted: Wanted, domains: readonly ClockDomain[], own: OwnSettings, miss: Miss): readonly Step[] {
  const { kind, governor, cap } = wanted;
  const files = FILES[kind];
  if (domains.length === 0) {
    const reason = `this board shows no clock of its ${kind === 'cpu' ? 'cores' : 'GPU'} that can be set`;
    if (governor !== undefined) miss(`${kind}.governor`, reason);
    if (cap !== undefined) miss(files.capSetting, reason);
  }
  return domains.flatMap((domain) => {
    const governorFile = `${domain.path}/${files.governor}`;
    const capFile = `${domain.path}/${files.cap}`;
    if (governor !== undefined && domain.governors.length > 0 && !domain.governors.includes(governor)) {
      miss(`${kind}.governor`, `${domain.path} has ${domain.governors.join(', ')}, not ${governor}`);
    }
    const capTo = cap === undefined ? uncapped(capFile, wanted, domain, own) : String(capOf(cap, wanted.most, domain));
    return [
      ...writeWhere(governorFile, governor ?? own.files[governorFile], domain.governor),
      ...writeWhere(capFile, capTo, String(domain.cap)),
    ];
  });
}

function writeWhere(path: string, value: string | undefined, was: string): readonly Step[] {
  return value === undefined || value === was ? [] : [{ kind: 'write', path, value, was }];
}

/** The cap that a clock has when nobody lowers it: its own one in the board's own power mode, in another one that mode's. */
function uncapped(
  file: string,
  { most, inOwnMode }: Wanted,
  domain: ClockDomain,
  own: OwnSettings,
): string | undefined {
  const before = own.files[file];
  return before === undefined || inOwnMode ? before : String(capOf(Infinity, most, domain));
}

/** The highest frequency of the clock that is not above `wanted` and `most`; its lowest one where all are above. */
function capOf(wanted: number, most: number | undefined, { frequencies, hardwareMax }: ClockDomain): number {
  const limit = Math.min(wanted, most ?? Infinity, hardwareMax ?? Infinity);
  return frequencies.findLast((frequency) => frequency <= limit) ?? frequencies[0] ?? limit;
}

/** What brings a board back to `before`. */
export function planReturn(before: BoardState, now: BoardState): readonly Step[] {
  const { powerModeId: id } = before;
  const mode = before.powerModes.find((candidate) => candidate.id === id);
  const back: readonly Step[] =
    mode === undefined || mode.id === now.powerModeId
      ? []
      : [{ kind: 'power-mode', id: mode.id, name: mode.name, was: now.powerModeId }];
  return [...back, ...clocksBack('cpu', before.cpu, now.cpu), ...clocksBack('gpu', before.gpu, now.gpu)];
}

function clocksBack(kind: 'cpu' | 'gpu', before: readonly ClockDomain[], now: readonly ClockDomain[]): readonly Step[] {
  return before.flatMap(({ path, governor, cap }) => {
    const present = now.find((domain) => domain.path === path);
    if (present === undefined) return [];
    return [
      ...writeWhere(`${path}/${FILES[kind].governor}`, governor, present.governor),
      ...writeWhere(`${path}/${FILES[kind].cap}`, String(cap), String(present.cap)),
    ];
  });
}

/** The caps of all clocks, by their files. */
export function capsOf({ cpu, gpu }: BoardState): Readonly<Record<string, string>> {
  const caps = (kind: 'cpu' | 'gpu', domains: readonly ClockDomain[]): readonly [string, string][] =>
    domains.map(({ path, cap }) => [`${path}/${FILES[kind].cap}`, String(cap)]);
  return Object.fromEntries([...caps('cpu', cpu), ...caps('gpu', gpu)]);
}

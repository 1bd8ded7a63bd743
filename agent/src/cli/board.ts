import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

import type { Command } from 'commander';

import { applyConfig, describeStep, unsupported } from '@fleetgate/firmware-configs/apply-config';
import type { BoardState } from '@fleetgate/firmware-configs/board-state';
import { DiskBoard } from '@fleetgate/firmware-configs/disk-board';
import { readyMadeConfigs, refuseForeign } from '@fleetgate/firmware-configs/load-board-config';
import { type OwnSettings, planChanges, type Step } from '@fleetgate/firmware-configs/plan-changes';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { type BoardConfig, parseBoardConfig } from '@fleetgate/shared/catalogue/board-config';
import { claimDataDir } from '@fleetgate/shared/disk-data-dir';
import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { readOwnSettings, writeOwnSettings } from '../board/disk-own-settings.js';
import { environmentPrefix, powerModeRequestFolder } from '../config/config.js';
import { chooseBoard } from '../sensors/linux-board-facts.js';
import { boardLines } from './board-lines.js';

interface BoardOptions {
  readonly root: string;
  readonly board: string;
  readonly data: string;
  readonly json?: boolean;
}

/** Adds `board`: settings of the machine that it runs on, looked at, planned and applied by hand. */
export function registerBoard(program: Command): void {
  const board = program.command('board').description('power modes, governors and caps of this board');
  const shown = (name: string, description: string): Command =>
    board
      .command(name)
      .description(description)
      .option('--root <dir>', 'a tree to take for the board, in place of /', '/')
      .option('--board <id>', 'board profile, or auto to recognise this machine', 'auto')
      .option('--json', 'print one JSON document');
  const keeping = (command: Command): Command =>
    command
      .argument('<config>', 'a file, or the name of one that ships for this board')
      .option('--data <dir>', "folder that keeps the board's own settings; of the agent, where one runs", '.fleetgate');
  shown('show', 'what this board is set to, what it can be set to, and the configs that ship for it').action(show);
  keeping(shown('plan', 'what applying a config would change here; changes nothing')).action(plan);
  keeping(shown('apply', 'apply a config, or leave everything as it was')).action(apply);
}

async function show(options: BoardOptions): Promise<void> {
  const profile = await profileOf(options);
  const state = await boardAt(options).read();
  const configs = await readyMadeConfigs(profile.id);
  print(options, { board: profile.id, ...plain(state), configs }, () => boardLines(profile, state, configs));
}

async function plan(name: string, options: BoardOptions): Promise<void> {
  const config = await configNamed(name, await profileOf(options));
  const { steps, obstacles } = planChanges(config, await boardAt(options).read(), readOwnSettings(options.data));
  if (obstacles.length > 0) throw unsupported(config, obstacles);
  print(options, { config: config.name, steps }, () => stepLines(steps, 'nothing to change'));
}

async function apply(name: string, options: BoardOptions): Promise<void> {
  const config = await configNamed(name, await profileOf(options));
  const folder = resolve(options.data);
  // A running agent is the only writer of its board's settings.
  const release = claimDataDir(folder);
  try {
    const remember = (own: OwnSettings): void => writeOwnSettings(folder, own);
    const steps = await applyConfig(config, boardAt(options), readOwnSettings(folder), remember);
    print(options, { config: config.name, steps }, () => stepLines(steps, 'nothing was to change'));
  } finally {
    release();
  }
}

function profileOf({ board, root }: BoardOptions): Promise<BoardProfile> {
  return chooseBoard(board, root, environmentPrefix());
}

function boardAt({ root }: BoardOptions): DiskBoard {
  return new DiskBoard({ root: resolve(root), requestFolder: powerModeRequestFolder() });
}

async function configNamed(name: string, profile: BoardProfile): Promise<BoardConfig> {
  const shipped = await readyMadeConfigs(profile.id);
  const known = shipped.find((config) => config.name === name);
  if (known !== undefined) return known;
  let text: string;
  try {
    text = await readFile(name, 'utf8');
  } catch (cause) {
    throw new FleetError('board-config.invalid', `board config "${name}" cannot be read: ${messageOf(cause)}`, {
      hint: `give a file, or one of ${shipped.map((config) => config.name).join(', ')}`,
      cause,
    });
  }
  const config = parseBoardConfig(text, name);
  refuseForeign(config, profile.id);
  return config;
}

/** As JSON has it: maps as objects. */
function plain(state: BoardState): object {
  const powerModes = state.powerModes.map((mode) => ({ ...mode, gating: Object.fromEntries(mode.gating) }));
  return { ...state, powerModes };
}

function stepLines(steps: readonly Step[], none: string): readonly string[] {
  return steps.length === 0 ? [none] : steps.map(describeStep);
}

function print({ json }: BoardOptions, document: object, lines: () => readonly string[]): void {
  process.stdout.write(json === true ? `${JSON.stringify(document)}\n` : `${lines().join('\n')}\n`);
}

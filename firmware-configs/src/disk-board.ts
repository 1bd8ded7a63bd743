import { constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { listMatching, readNumber, readText } from '@fleetgate/shared/linux-files';

import type { Board } from './apply-config.js';
import { type BoardState, type ClockDomain, parseFirmwareSettings } from './board-state.js';
import { parsePowerModeInForce, parsePowerModes } from './nvpmodel.js';
import type { Step } from './plan-changes.js';
import { askForPowerMode, queryPowerMode, runNvpmodel } from './process-nvpmodel.js';

const CPUFREQ = '/sys/devices/system/cpu/cpufreq';
const DEVFREQ = '/sys/class/devfreq';
/** Tegra by JetPack release, ARM's and Qualcomm's GPUs. Other devfreq clocks are buses and video units. */
const GPU = /\.(?:gpu|ga10b|gv11b|gp10b)$|mali|kgsl/;
/** Since Debian 12 the first, before it the second. */
const FIRMWARE_FILES = ['/boot/firmware/config.txt', '/boot/config.txt'];

export interface DiskBoardOptions {
  /** `/`, or a tree of the same form to try things on; its `usr/sbin/nvpmodel` is asked then. */
  readonly root: string;
  /** Folder that the system's service for power modes watches, where this process may not set them itself. */
  readonly requestFolder?: string | undefined;
}

/** The board below `root`: cpufreq and devfreq in sysfs, nvpmodel, a Raspberry Pi's config.txt (read only). */
export class DiskBoard implements Board {
  readonly #options: DiskBoardOptions;

  constructor(options: DiskBoardOptions) {
    this.#options = options;
  }

  async read(): Promise<BoardState> {
    const { root } = this.#options;
    const { modes } = parsePowerModes((await readText(root, 'etc/nvpmodel.conf')) ?? '');
    const policies = await listMatching(join(root, CPUFREQ), /^policy\d+$/);
    const devices = await listMatching(join(root, DEVFREQ), GPU);
    const [cpu, gpu] = await Promise.all([
      Promise.all(policies.map((path) => readCpu(root, path))),
      Promise.all(devices.map((path) => readGpu(root, path))),
    ]);
    return {
      powerModes: modes,
      powerModeId: modes.length === 0 ? undefined : await this.#powerModeId(),
      cpu: cpu.filter((domain) => domain !== undefined),
      gpu: gpu.filter((domain) => domain !== undefined),
      firmware: parseFirmwareSettings(await firstText(root, FIRMWARE_FILES)),
    };
  }

  async change(step: Step): Promise<void> {
    if (step.kind === 'write') return this.#write(step.path, step.value);
    const { root, requestFolder } = this.#options;
    if (requestFolder === undefined) return runNvpmodel(root, step.id);
    return askForPowerMode(root, requestFolder, step.id);
  }

  async #powerModeId(): Promise<number | undefined> {
    const { root } = this.#options;
    const asked = parsePowerModeInForce(await queryPowerMode(root));
    return asked ?? parsePowerModeInForce((await readText(root, 'var/lib/nvpmodel/status')) ?? '');
  }

  async #write(path: string, value: string): Promise<void> {
    try {
      // As a shell's redirection opens it, but a file that is not there is not made.
      await writeFile(join(this.#options.root, path), `${value}\n`, { flag: constants.O_WRONLY | constants.O_TRUNC });
    } catch (cause) {
      throw writeFailed(path, value, cause);
    }
  }
}

function writeFailed(path: string, value: string, cause: unknown): FleetError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (['EACCES', 'EPERM', 'EROFS'].includes(code)) {
    return new FleetError('board.not-permitted', `${path} may not be written by this process (${code})`, {
      hint: 'run as root, or install the unit of firmware-configs/systemd, which hands these files to the group fleetgate',
      cause,
    });
  }
  return new FleetError('board.not-applied', `${path} does not take ${value}: ${messageOf(cause)}`, { cause });
}

async function readCpu(root: string, folder: string): Promise<ClockDomain | undefined> {
  const governor = await readText(folder, 'scaling_governor');
  const cap = await readNumber(folder, 'scaling_max_freq');
  if (governor === undefined || cap === undefined) return undefined;
  return {
    path: within(root, folder),
    governor,
    governors: words(await readText(folder, 'scaling_available_governors')),
    cap,
    hardwareMax: await readNumber(folder, 'cpuinfo_max_freq'),
    frequencies: ascending(await readText(folder, 'scaling_available_frequencies')),
  };
}

async function readGpu(root: string, folder: string): Promise<ClockDomain | undefined> {
  const governor = await readText(folder, 'governor');
  const cap = await readNumber(folder, 'max_freq');
  if (governor === undefined || cap === undefined) return undefined;
  const frequencies = ascending(await readText(folder, 'available_frequencies'));
  return {
    path: `${DEVFREQ}/${basename(folder)}`,
    governor,
    governors: words(await readText(folder, 'available_governors')),
    cap,
    hardwareMax: frequencies.at(-1),
    frequencies,
  };
}

async function firstText(root: string, paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    const text = await readText(root, path);
    if (text !== undefined) return text;
  }
  return '';
}

const within = (root: string, path: string): string => `/${path.slice(join(root, '/').length)}`;
const words = (text: string | undefined): readonly string[] => text?.split(/\s+/).filter((word) => word !== '') ?? [];
const ascending = (text: string | undefined): readonly number[] =>
  words(text)
    .map(Number)
    .filter((value) => value > 0)
    .sort((a, b) => a - b);

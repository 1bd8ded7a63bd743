import { readFile, rename, writeFile } from 'node:fs/promises';

import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { type Command, InvalidArgumentError, Option } from 'commander';

import { routerDigest } from '../gguf/disk-router-digest.js';
import { embeddedProfile } from '../slabs/embedded-profile.js';
import { importanceOf, SCORES, type ScoreName, tasksNamed } from '../slabs/importance.js';
import { keepPlan } from '../slabs/keep-plan.js';
import { reasoningNpmi } from '../slabs/npmi.js';
import { checkProfile, type ProfiledModel, profileSchema, type SlabProfile } from '../slabs/profile.js';
import type { KeepSets } from '../slabs/routing.js';
import type { SlabSession } from './slab-session.js';

export interface KeepOptions {
  readonly profile?: string;
  readonly task?: string;
  readonly keep?: number;
  readonly score: ScoreName;
  readonly seed: number;
  readonly protect?: number;
}

/** Options of the commands that choose the slabs that stay. */
export function withKeepOptions(command: Command): Command {
  return command
    .option('--profile <file>', 'profile of this model (gguf profile), or a model that brings one along (gguf embed)')
    .option('--task <name>', 'task of the profile, several joined by +, or all')
    .option('--keep <n>', 'slabs that stay in each layer', positiveInteger)
    .addOption(new Option('--score <name>', 'what makes a slab important').choices(SCORES).default('tcess'))
    .option('--protect <npmi>', 'keep slabs whose nPMI with reasoning tokens is this or more', ratio)
    .option('--seed <n>', 'seed of the random score', positiveInteger, 1);
}

/** The slabs that the options keep; undefined where they ask for none. Throws `usage.invalid`. */
export async function keptBy(options: KeepOptions, session: SlabSession): Promise<KeepSets | undefined> {
  const { profile: file, task, keep, score, seed, protect } = options;
  if (keep === undefined && file === undefined && task === undefined) return undefined;
  if (keep === undefined || file === undefined || task === undefined) {
    throw new FleetError('usage.invalid', '--profile, --task and --keep are given together, or none of them');
  }
  const profile = await profileOf(session, file);
  const tasks = tasksNamed(profile, task);
  const npmi = protect === undefined ? [] : reasoningNpmi(tasks.flatMap((name) => profile.tasks[name] ?? []));
  const { slabsPerToken, groups } = session.layout;
  return keepPlan(importanceOf(profile, tasks, score, seed), {
    keep,
    slabsPerToken,
    groups,
    ...(protect === undefined ? {} : { isProtected: (layer, slab) => (npmi[layer]?.[slab] ?? 0) >= protect }),
  });
}

/** The profile of a model in a file. Throws `usage.invalid` for what is none, or the one of another model. */
export async function profileOf(session: SlabSession, file: string): Promise<SlabProfile> {
  const profile = await readProfile(file);
  checkProfile(profile, await profiledModel(session), file, 'usage.invalid');
  return profile;
}

/** What a profile of a model has to agree with. */
export async function profiledModel({
  path,
  header,
  layout,
}: Pick<SlabSession, 'path' | 'header' | 'layout'>): Promise<ProfiledModel> {
  const { architecture, layers, slabsPerLayer } = layout;
  return { path, architecture, router: await routerDigest(path, header), layers: layers.length, slabsPerLayer };
}

/** A profile, or the one within a model (`.gguf`). Throws `usage.invalid` for what is none. */
export async function readProfile(file: string): Promise<SlabProfile> {
  if (file.endsWith('.gguf')) return profileWithin(file);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new FleetError('usage.invalid', `${file} cannot be read as a profile: ${messageOf(cause)}`, {
      cause,
      hint: '`fleetgate gguf profile` makes one',
    });
  }
  return check(profileSchema, value, 'usage.invalid', file);
}

async function profileWithin(file: string): Promise<SlabProfile> {
  const profile = embeddedProfile(await readGguf(file), file);
  if (profile !== undefined) return profile;
  throw new FleetError('usage.invalid', `${file} brings no profile along`, {
    hint: '`fleetgate gguf embed` writes one into a model file',
  });
}

export async function writeProfile(file: string, profile: SlabProfile): Promise<void> {
  try {
    await writeFile(`${file}.part`, `${JSON.stringify(profile)}\n`);
    await rename(`${file}.part`, file);
  } catch (cause) {
    throw new FleetError('usage.invalid', `${file} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected an integer of 1 or more');
  return value;
}

function ratio(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= -1 && value <= 1))
    throw new InvalidArgumentError('expected a number from -1 to 1');
  return value;
}

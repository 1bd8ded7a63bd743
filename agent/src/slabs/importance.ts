import { FleetError } from '@fleetgate/shared/errors';
import { SeededRandom } from '@fleetgate/shared/random';

import type { LayerProfile, SlabProfile, TaskProfile } from './profile.js';

export const SCORES = ['tcess', 'frequency', 'mixed', 'random'] as const;
export type ScoreName = (typeof SCORES)[number];

/** By layer and slab; larger is more important. Each layer adds up to 1. */
export type Importance = readonly (readonly number[])[];

/** Weight of what all tasks need, in `mixed`. */
const GENERAL_WEIGHT = 0.3;

/**
 * How important each slab is for the tasks:
 *
 * - `frequency`: share of the choices that fell on it.
 * - `tcess`: task-conditioned expected selection score (PreMoe, arXiv 2505.17639): expected router probability of the slab
 *   where it is chosen, `E_{x in task}[p_e(x) 1(e in TopK(x))]`, as a share of the layer's.
 * - `mixed`: `0.7 I_task + 0.3 I_general` on `tcess`, with `I_general` the mean over all tasks of the profile: what a domain
 *   needs, without giving up what all need (as D-Pruner weighs general against domain importance, arXiv 2405.06275).
 * - `random`: uniform, by `seed`; what the others are to be better than.
 *
 * Several tasks count alike, whatever their numbers of tokens. Throws `usage.invalid` for a task that is not profiled.
 */
export function importanceOf(profile: SlabProfile, tasks: readonly string[], score: ScoreName, seed = 1): Importance {
  switch (score) {
    case 'random':
      return randomImportance(profile, seed);
    case 'frequency':
    case 'tcess':
      return meanOf(tasks.map((task) => taskImportance(taskOf(profile, task), score)));
    case 'mixed':
      return meanOf([
        ...weighted(meanOf(tasks.map((task) => taskImportance(taskOf(profile, task), 'tcess'))), 1 - GENERAL_WEIGHT),
        ...weighted(meanOf(Object.values(profile.tasks).map((one) => taskImportance(one, 'tcess'))), GENERAL_WEIGHT),
      ]);
  }
}

/** The tasks that a name stands for: `all`, one, or several as `math+code`. Throws `usage.invalid`. */
export function tasksNamed(profile: SlabProfile, name: string): readonly string[] {
  if (name === 'all') return Object.keys(profile.tasks);
  const tasks = name.split('+');
  for (const task of tasks) taskOf(profile, task);
  return tasks;
}

function taskOf(profile: SlabProfile, task: string): TaskProfile {
  const found = Object.hasOwn(profile.tasks, task) ? profile.tasks[task] : undefined;
  if (found !== undefined) return found;
  throw new FleetError('usage.invalid', `the profile knows no task ${JSON.stringify(task)}`, {
    hint: `expected all, or some of ${Object.keys(profile.tasks).join(', ')} joined by +`,
  });
}

function taskImportance({ layers }: TaskProfile, score: 'frequency' | 'tcess'): Importance {
  return layers.map((layer: LayerProfile) => shares(layer[score]));
}

function randomImportance({ model }: SlabProfile, seed: number): Importance {
  const random = new SeededRandom(seed);
  return Array.from({ length: model.layers }, () =>
    shares(Array.from({ length: model.slabsPerLayer }, () => random.uniform())),
  );
}

/** As two parts of a mean of two. */
function weighted(importance: Importance, weight: number): readonly Importance[] {
  return [importance.map((layer) => layer.map((value) => 2 * weight * value))];
}

function meanOf(parts: readonly Importance[]): Importance {
  const [first = []] = parts;
  return first.map((layer, l) =>
    layer.map((_, s) => parts.reduce((sum, part) => sum + (part[l]?.[s] ?? 0), 0) / parts.length),
  );
}

function shares(values: readonly number[]): readonly number[] {
  const total = values.reduce((sum, value) => sum + value, 0);
  return total > 0 ? values.map((value) => value / total) : values.map(() => 1 / values.length);
}

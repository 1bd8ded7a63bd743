/** Where the prompts of a training set lie, and what kinds of them there are: from prompts and tasks alone. */
import type { Random } from '@fleetgate/shared/random';

import type { PromptMap } from './blend-fit.js';
import { type LabelledClass, labelClasses } from './class-labels.js';
import { type Matrix, matrix, principalSubspace, rowOf } from './linear-algebra.js';
import { classProbabilities, familiarityOf, findClasses } from './prompt-classes.js';
import { dot, unit } from './spherical-k-means.js';
import { fitTaskDirections, type TaskDirections, taskScores } from './task-directions.js';
import { taskProbabilities, temperatureOf, type Typicality, typicalityOf } from './task-posterior.js';
import { FOLDS, type TrainingSet } from './training-set.js';
import { featureCount } from './vocabulary.js';

/** Strongest directions kept: 48, 64 and 96 choose equally well on the public routing data. */
export const RANK = 64;
/** Share of the training prompts that count as unlike the rest. */
const UNFAMILIAR_SHARE = 0.01;

export interface TrainedMap extends PromptMap {
  /** Features x dimensions: the strongest directions. */
  readonly basis: Matrix;
  readonly directions: TaskDirections;
  readonly temperature: number;
  /** Per task. */
  readonly typicality: readonly Typicality[];
  readonly centroids: Matrix;
  readonly classes: readonly LabelledClass[];
  /** What `familiarityOf` is for all but a small share of the prompts, at least. */
  readonly familiarity: number;
}

export function mapPrompts(
  set: TrainingSet,
  random: Random,
  progress: (step: string, done: number) => void,
): TrainedMap {
  const features = featureCount(set.vocabulary.parts);
  progress('directions', 0);
  const { basis, scores } = principalSubspace(set.rows, features, RANK, random);
  progress('tasks', 0.4);
  const fit = (fold?: number) =>
    fitTaskDirections(set.rows, features, set.taskOf, set.tasks.length, (row) => set.foldOf[row] !== fold);
  const heldOut = matrix(set.size, set.tasks.length);
  for (let fold = 0; fold < FOLDS; fold++) {
    const own = [...set.rows.keys()].filter((row) => set.foldOf[row] === fold);
    const ofFold = taskScores(
      own.flatMap((row) => set.rows.slice(row, row + 1)),
      fit(fold),
    );
    own.forEach((row, at) => rowOf(heldOut, row).set(rowOf(ofFold, at)));
    progress('tasks', 0.4 + (0.3 * (fold + 1)) / FOLDS);
  }
  const temperature = temperatureOf(heldOut, set.taskOf);
  const tasks = taskProbabilities(heldOut, temperature);
  progress('classes', 0.7);
  const rows = Array.from({ length: set.size }, (_, row) => unit(rowOf(scores, row)));
  const found = findClasses(rows, set.taskOf, set.tasks.length, random);
  const probabilities = matrix(set.size, found.taskOf.length);
  const cosines = new Float64Array(found.taskOf.length);
  const familiar = rows.map((row, at) => {
    cosines.forEach((_, index) => (cosines[index] = dot(rowOf(found.centroids, index), row)));
    classProbabilities(found.taskOf, cosines, rowOf(tasks, at), rowOf(probabilities, at));
    return familiarityOf(rowOf(scores, at), cosines, set.known[at] ?? 0);
  });
  return {
    scores,
    basis,
    directions: fit(),
    temperature,
    typicality: typicalityOf(heldOut),
    centroids: found.centroids,
    classes: labelClasses(set.tasks, found.taskOf, found.classOf, set.words),
    foldOf: set.foldOf,
    classOf: found.classOf,
    taskOfClass: found.taskOf,
    tasks: set.tasks.length,
    probabilities,
    familiarity: familiar.sort((a, b) => a - b)[Math.floor(UNFAMILIAR_SHARE * familiar.length)] ?? 0,
  };
}

import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { expertIdSchema } from '@fleetgate/shared/ids';

import { readOutcomes } from '../gating/disk-outcomes.js';
import { gateOf } from '../gating/linear-gate.js';
import type { Gate } from '../gating/gate.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGate } from '../gating/train-gate.js';
import { paramsOf } from './boards.js';
import { type SimulatedExpert, simulatedExperts } from './simulated-catalogue.js';

/** Largest trace that is read, bytes, unpacked. */
const MOST_BYTES = 512 * 1024 * 1024;
/** Every so many outcomes, one is left to train on; the others are what is asked. */
const TRAIN_EVERY = 2;
const LEAST_EXPERTS = 2;
/** Experts of the simulated fleet: the largest problem that plans are made for every minute. */
const MOST_EXPERTS = 16;
/** Models that a board can hold, 1e9 parameters. */
const MOST_PARAMS = 80;

/** Text of a file, unpacked when its name ends in .gz. Throws `usage.invalid`. */
export async function readTextFile(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    const text = path.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: MOST_BYTES }) : bytes;
    return text.toString('utf8');
  } catch (cause) {
    throw new FleetError('usage.invalid', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

export interface SimulatedMinds {
  readonly gate: Gate;
  readonly experts: readonly SimulatedExpert[];
  /** Prompts that the gate has not seen. */
  readonly prompts: readonly Outcome[];
  /** Models whose names tell no size. */
  readonly sizeUnknown: readonly string[];
}

/**
 * Experts, a gate trained on one half of the outcomes, and the other half to be asked. `names`: models to simulate; undefined
 * takes those whose size is known from their name (all, where it is of none) and that every outcome has. Throws
 * `outcomes.invalid` and `usage.invalid`.
 */
export async function readMinds(
  path: string,
  names: readonly string[] | undefined,
  seed: number,
  signal: AbortSignal,
): Promise<SimulatedMinds> {
  const all: Outcome[] = [];
  for await (const outcome of readOutcomes(path, signal)) all.push(outcome);
  const models = chosenModels(all, names, path);
  const outcomes = all
    .filter(({ y }) => models.every((model) => y[model] !== undefined))
    .map((one) => only(one, models));
  const trained = outcomes.filter((_, at) => at % TRAIN_EVERY === 0);
  const prompts = outcomes.filter((_, at) => at % TRAIN_EVERY !== 0);
  return {
    gate: gateOf(trainGate(trained, { seed })),
    experts: simulatedExperts(models),
    prompts,
    sizeUnknown: models.filter((model) => paramsOf(model) === undefined),
  };
}

function chosenModels(
  outcomes: readonly Outcome[],
  names: readonly string[] | undefined,
  path: string,
): readonly string[] {
  const counts = new Map<string, number>();
  for (const { y } of outcomes) for (const model of Object.keys(y)) counts.set(model, (counts.get(model) ?? 0) + 1);
  if (names !== undefined) {
    const unknown = names.filter((name) => !counts.has(name));
    if (unknown.length === 0 && names.length >= LEAST_EXPERTS) return names;
    throw new FleetError(
      'usage.invalid',
      `--experts: ${path} has no outcomes of ${unknown.join(', ') || 'a second model'}`,
      {
        hint: `it has ${[...counts.keys()].slice(0, 40).join(', ')}`,
      },
    );
  }
  const complete = [...counts].filter(([, count]) => count === outcomes.length).map(([model]) => model);
  const valid = complete.filter((model) => expertIdSchema.safeParse(model.toLowerCase()).success);
  const sized = valid.filter((model) => (paramsOf(model) ?? Infinity) <= MOST_PARAMS);
  const models = (sized.length >= LEAST_EXPERTS ? sized : valid).slice(0, MOST_EXPERTS);
  if (models.length >= LEAST_EXPERTS) return models;
  throw new FleetError('outcomes.invalid', `${path}: expected outcomes of at least two models on every prompt`, {
    hint: 'name the models with --experts',
  });
}

/** Columns of the chosen models, by their names as experts. */
function only(outcome: Outcome, models: readonly string[]): Outcome {
  const pick = <T>(values: Readonly<Record<string, T>> | undefined): Record<string, T> =>
    Object.fromEntries(
      models.flatMap((model) => {
        const value = values?.[model];
        return value === undefined ? [] : [[model.toLowerCase(), value]];
      }),
    );
  const { id, out_tok, prompt, prompt_tok, task, y } = outcome;
  return {
    id,
    prompt,
    ...(prompt_tok === undefined ? {} : { prompt_tok }),
    ...(task === undefined ? {} : { task }),
    y: pick(y),
    out_tok: pick(out_tok),
  };
}

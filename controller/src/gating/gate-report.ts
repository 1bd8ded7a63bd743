/** What a gate is worth beside knowing every outcome and beside asking at random, and what experts are, class by class. Pure. */
import type { Truth } from './evaluate-gate.js';
import { type QualityMatrix, type Specialisation, specialisationOf } from './specialisation.js';

/** One prompt: outcomes, what was predicted, and what each model's answer cost, where that is known. */
export interface ReportedPrompt {
  readonly truth: Truth;
  readonly predicted: Readonly<Record<string, number>>;
  readonly cost: Readonly<Record<string, number>>;
}

/** A way of choosing that needs no gate. */
export interface Reference {
  readonly name: string;
  readonly quality: number;
  /** Mean cost per prompt, in the unit of the prompts' costs; null where it is not known. */
  readonly cost: number | null;
  /** Share of the oracle's gain over it that the gate gets; null where the oracle gains nothing. */
  readonly captured: number | null;
}

/** Duo-LLM style: the choice that knows every outcome beside the learned one. */
export interface OracleReport {
  readonly gate: { readonly quality: number; readonly cost: number | null };
  readonly oracle: { readonly quality: number; readonly cost: number | null };
  /** Best single model, a model drawn at random, and the cheapest one where costs are known. */
  readonly references: readonly Reference[];
}

export interface ClassModel {
  readonly model: string;
  readonly quality: number;
  /** Quality less that of the best single model on the same class. */
  readonly gain: number;
  readonly predicted: number;
  /** Share of the class's prompts that the gate gives it. */
  readonly chosen: number;
  readonly cost: number | null;
}
export interface ClassReport {
  readonly task: string;
  readonly prompts: number;
  /** Best first. */
  readonly models: readonly ClassModel[];
}

export interface GateReport {
  readonly oracle: OracleReport;
  readonly classes: readonly ClassReport[];
  readonly specialisation: readonly Specialisation[];
}

const NO_TASK = '(none)';

/** On the models that every prompt has an outcome of; undefined when there are fewer than two. */
export function gateReport(prompts: readonly ReportedPrompt[]): GateReport | undefined {
  const models = Object.keys(prompts[0]?.truth.y ?? {})
    .filter((model) => prompts.every(({ truth, predicted }) => model in truth.y && model in predicted))
    .sort();
  if (models.length < 2) return undefined;
  const oracle = oracleReport(prompts, models);
  const single = oracle.references[0]?.name ?? '';
  const groups = new Map<string, ReportedPrompt[]>();
  for (const prompt of prompts) {
    const task = prompt.truth.task ?? NO_TASK;
    groups.set(task, [...(groups.get(task) ?? []), prompt]);
  }
  const tasks = [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  const matrix: QualityMatrix = {
    classes: tasks.map(([task]) => task),
    experts: models,
    quality: tasks.map(([, own]) => models.map((model) => meanOf(own.map(({ truth }) => truth.y[model] ?? 0)))),
  };
  return {
    oracle,
    classes: tasks.map(([task, own]) => classReport(task, own, models, single)),
    specialisation: specialisationOf(matrix),
  };
}

function oracleReport(prompts: readonly ReportedPrompt[], models: readonly string[]): OracleReport {
  const valueOf = (pick: (prompt: ReportedPrompt) => string) => ({
    quality: meanOf(prompts.map((prompt) => prompt.truth.y[pick(prompt)] ?? 0)),
    cost: knownMean(prompts.map((prompt) => prompt.cost[pick(prompt)])),
  });
  const gate = valueOf(({ predicted }) => bestOf(models, (model) => predicted[model] ?? 0));
  // Of equally good answers the cheapest.
  const oracle = valueOf(({ truth, cost }) =>
    bestOf(models, (model) => (truth.y[model] ?? 0) - 1e-9 * (cost[model] ?? 0)),
  );
  const singles = models.map((model) => ({ name: model, ...valueOf(() => model) }));
  const byName = (name: string) => singles.find((one) => one.name === name) ?? { name, quality: 0, cost: null };
  const qualityOf = (name: string) => byName(name).quality;
  const reference = (one: Omit<Reference, 'captured'>): Reference => {
    const gain = oracle.quality - one.quality;
    return { ...one, captured: gain > 1e-9 ? (gate.quality - one.quality) / gain : null };
  };
  const priced = singles.flatMap(({ name, cost }) => (cost === null ? [] : [{ name, cost }]));
  const cheapest = priced.length < models.length ? undefined : bestOf(models, (name) => -(byName(name).cost ?? 0));
  const random = {
    name: 'a model at random',
    quality: meanOf(singles.map(({ quality }) => quality)),
    cost: knownMean(singles.map(({ cost }) => cost ?? undefined)),
  };
  return {
    gate,
    oracle,
    references: [
      reference(byName(bestOf(models, qualityOf))),
      reference(random),
      ...(cheapest === undefined ? [] : [reference({ ...byName(cheapest), name: `cheapest: ${cheapest}` })]),
    ],
  };
}

function classReport(
  task: string,
  prompts: readonly ReportedPrompt[],
  models: readonly string[],
  single: string,
): ClassReport {
  const qualityOf = (model: string) => meanOf(prompts.map(({ truth }) => truth.y[model] ?? 0));
  const chosen = prompts.map(({ predicted }) => bestOf(models, (model) => predicted[model] ?? 0));
  const reports = models.map((model) => ({
    model,
    quality: qualityOf(model),
    gain: qualityOf(model) - qualityOf(single),
    predicted: meanOf(prompts.map(({ predicted }) => predicted[model] ?? 0)),
    chosen: chosen.filter((name) => name === model).length / prompts.length,
    cost: knownMean(prompts.map(({ cost }) => cost[model])),
  }));
  return { task, prompts: prompts.length, models: reports.sort((a, b) => b.quality - a.quality) };
}

/** The first of the highest. */
function bestOf(models: readonly string[], valueOf: (model: string) => number): string {
  return models.reduce((best, model) => (valueOf(model) > valueOf(best) ? model : best), models[0] ?? '');
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** Null where one is not known. */
function knownMean(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length < values.length ? null : meanOf(known);
}

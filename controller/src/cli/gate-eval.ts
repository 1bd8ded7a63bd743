import { FleetError } from '@fleetgate/shared/errors';

import { billionParameters } from '../bench/model-sizes.js';
import { type RoutingValue, routingValue } from '../bench/routing-metrics.js';
import { predictionOf } from '../gating/cross-validate.js';
import { readGateFile } from '../gating/disk-gate-store.js';
import { readOutcomes, readPromptLines } from '../gating/disk-outcomes.js';
import { countClasses, type Drift, driftOf } from '../gating/drift.js';
import { evaluateGate, type GateEvaluation, type Prediction } from '../gating/evaluate-gate.js';
import type { GateModel } from '../gating/gate-model.js';
import { gateReport, type GateReport } from '../gating/gate-report.js';
import { LinearScorer } from '../gating/linear-scorer.js';
import type { Outcome } from '../gating/outcomes.js';
import { printEvaluation } from './gate-evaluation.js';
import { printJson, printLine, printTable, showNumber } from './output.js';

interface EvalOptions {
  readonly json?: boolean;
}

export interface Evaluated {
  readonly evaluation: GateEvaluation;
  /** Undefined when fewer than two models have an outcome on every prompt. */
  readonly report: GateReport | undefined;
  /** Undefined where the sizes of too few models are known. */
  readonly routing: RoutingValue | undefined;
}

interface Pair {
  readonly outcome: Outcome;
  readonly prediction: Prediction & { readonly outputTokens: Readonly<Record<string, number>> };
}

/** Scores predictions in every way that outcomes allow. */
export function evaluated(pairs: readonly Pair[]): Evaluated {
  const compared = pairs.map(({ outcome: { task, y }, prediction }) => ({ truth: { task, y }, prediction }));
  const costs = costing(pairs.map(({ outcome }) => outcome));
  const reported = pairs.map(({ outcome, prediction }) => ({
    truth: { task: outcome.task, y: outcome.y },
    predicted: prediction.quality,
    cost: costs.of(outcome, outcome.out_tok ?? {}),
  }));
  return { evaluation: evaluateGate(compared), report: gateReport(reported), routing: routingOf(pairs, costs) };
}

/** On the models of known size that every prompt has an outcome of; undefined for fewer than two of different cost. */
function routingOf(pairs: readonly Pair[], costs: Costing): RoutingValue | undefined {
  const models = costs.models.filter((model) =>
    pairs.every(({ outcome, prediction }) => model in outcome.y && model in prediction.quality),
  );
  if (new Set(models.map(billionParameters)).size < 2) return undefined;
  const listed = (of: Readonly<Record<string, number>>) => models.map((model) => of[model] ?? 0);
  return routingValue(
    pairs.map(({ outcome, prediction }) => ({
      quality: listed(outcome.y),
      cost: listed(costs.of(outcome, outcome.out_tok ?? {})),
      predicted: listed(prediction.quality),
      expectedCost: listed(costs.of(outcome, prediction.outputTokens)),
    })),
  );
}

interface Costing {
  /** Models of known size. */
  readonly models: readonly string[];
  /** What each model's answer to a prompt costs if it is so long. */
  of(outcome: Outcome, answers: Readonly<Record<string, number | null>>): Record<string, number>;
}

/** Billion parameters times thousand tokens of prompt and answer where every line has both, else billion parameters alone. */
function costing(outcomes: readonly Outcome[]): Costing {
  const models = new Set(outcomes.flatMap(({ y }) => Object.keys(y)));
  const sizes = [...models].sort().flatMap((model) => {
    const size = billionParameters(model);
    return size === undefined ? [] : [{ model, size }];
  });
  const isCounted = outcomes.every(
    ({ prompt_tok, out_tok }) =>
      prompt_tok !== undefined && sizes.every(({ model }) => typeof out_tok?.[model] === 'number'),
  );
  return {
    models: sizes.map(({ model }) => model),
    of: ({ prompt_tok = 0 }, answers) =>
      Object.fromEntries(
        sizes.map(({ model, size }) => [
          model,
          isCounted ? (size * (prompt_tok + (answers[model] ?? 0))) / 1000 : size,
        ]),
      ),
  };
}

/** `gate eval`. */
export async function evaluateFile(file: string, outcomesPath: string, options: EvalOptions): Promise<void> {
  const model = await readGateFile(file);
  const scorer = new LinearScorer(model);
  const pairs: Pair[] = [];
  for await (const outcome of readOutcomes(outcomesPath)) {
    pairs.push({ outcome, prediction: predictionOf(model, scorer, outcome.prompt) });
  }
  if (pairs.length === 0) {
    throw new FleetError('outcomes.invalid', `${outcomesPath}: expected at least one outcome, got none`);
  }
  const found = evaluated(pairs);
  if (options.json === true) printJson(evaluationDocument(found));
  else printEvaluated(found);
}

export function evaluationDocument({ evaluation, report, routing }: Evaluated): object {
  return { ...evaluation, report: report ?? null, routing: routing ?? null };
}

export function printEvaluated({ evaluation, report, routing }: Evaluated): void {
  printEvaluation(evaluation, report);
  if (routing === undefined) return;
  printLine();
  const { aiq, zeroAiq } = routing;
  printLine(`AIQ (mean quality over costs) ${aiq.toFixed(4)}; single models mixed at random ${zeroAiq.toFixed(4)}`);
}

interface SeenFile {
  readonly seen: readonly { readonly classId: string; readonly novelty: number }[];
  /** Mean predicted quality of each model. */
  readonly quality: Readonly<Record<string, number>>;
}

/** `gate drift`. */
export async function compareFiles(file: string, before: string, after: string, options: EvalOptions): Promise<void> {
  const model = await readGateFile(file);
  const [was, is] = [await seenIn(model, before), await seenIn(model, after)];
  const reference = driftOf(countClasses(was.seen), was.seen);
  const drift = driftOf(countClasses(was.seen), is.seen);
  const models = model.experts.map(({ name }) => ({ model: name, before: was.quality[name], after: is.quality[name] }));
  if (options.json === true)
    return printJson({ before: { ...reference, file: before }, after: { ...drift, file: after }, models });
  printDrift(reference, drift);
  printLine();
  printTable(
    [
      { title: 'mean predicted quality', value: (row) => row.model },
      { title: 'before', value: (row) => showNumber(row.before, '', 3), align: 'right' },
      { title: 'after', value: (row) => showNumber(row.after, '', 3), align: 'right' },
    ],
    models,
  );
}

async function seenIn(model: GateModel, path: string): Promise<SeenFile> {
  const scorer = new LinearScorer(model);
  const seen: { readonly classId: string; readonly novelty: number }[] = [];
  const sums = new Float64Array(model.experts.length);
  for await (const { prompt } of readPromptLines(path)) {
    const { classIndex, novelty, quality } = scorer.score(prompt);
    seen.push({ classId: model.classes[classIndex]?.label ?? '', novelty });
    quality.forEach((value, at) => (sums[at] = (sums[at] ?? 0) + value));
  }
  if (seen.length === 0) throw new FleetError('outcomes.invalid', `${path}: expected at least one prompt, got none`);
  return {
    seen,
    quality: Object.fromEntries(model.experts.map(({ name }, at) => [name, (sums[at] ?? 0) / seen.length])),
  };
}

function printDrift(before: Drift, after: Drift): void {
  const percent = (share: number | null) => (share === null ? '-' : `${(100 * share).toFixed(1)} %`);
  printLine(`prompts                       ${before.prompts} before, ${after.prompts} after`);
  printLine(`population stability index    ${showNumber(after.psi, '', 3)}: ${after.verdict ?? 'not known'}`);
  printLine(`unlike the training data      ${percent(before.novel)} before, ${percent(after.novel)} after`);
  printLine();
  printTable(
    [
      { title: 'class', value: (row) => row.classId },
      { title: 'before', value: (row) => percent(row.before), align: 'right' },
      { title: 'after', value: (row) => percent(row.now), align: 'right' },
    ],
    after.classes,
  );
}

import { FleetError } from '@fleetgate/shared/errors';

import { billionParameters } from '../bench/model-sizes.js';
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
}

/** Scores predictions in every way that outcomes allow. */
export function evaluated(pairs: readonly { readonly outcome: Outcome; readonly prediction: Prediction }[]): Evaluated {
  const compared = pairs.map(({ outcome: { task, y }, prediction }) => ({ truth: { task, y }, prediction }));
  const costOf = costing(pairs.map(({ outcome }) => outcome));
  const reported = pairs.map(({ outcome, prediction }) => ({
    truth: { task: outcome.task, y: outcome.y },
    predicted: prediction.quality,
    cost: costOf(outcome),
  }));
  return { evaluation: evaluateGate(compared), report: gateReport(reported) };
}

/**
 * What each model's answer costs, for models of known size: billion parameters times thousand tokens of prompt and answer
 * where every line has both, else billion parameters alone.
 */
function costing(outcomes: readonly Outcome[]): (outcome: Outcome) => Record<string, number> {
  const models = new Set(outcomes.flatMap(({ y }) => Object.keys(y)));
  const sizes = [...models].flatMap((model) => {
    const size = billionParameters(model);
    return size === undefined ? [] : [{ model, size }];
  });
  const tokens = ({ prompt_tok, out_tok }: Outcome, model: string) => {
    const answer = out_tok?.[model];
    return prompt_tok === undefined || answer === undefined || answer === null ? undefined : prompt_tok + answer;
  };
  const isCounted = outcomes.every((outcome) => sizes.every(({ model }) => tokens(outcome, model) !== undefined));
  return (outcome) =>
    Object.fromEntries(
      sizes.map(({ model, size }) => [model, isCounted ? (size * (tokens(outcome, model) ?? 0)) / 1000 : size]),
    );
}

/** `gate eval`. */
export async function evaluateFile(file: string, outcomesPath: string, options: EvalOptions): Promise<void> {
  const model = await readGateFile(file);
  const scorer = new LinearScorer(model);
  const pairs: { readonly outcome: Outcome; readonly prediction: Prediction }[] = [];
  for await (const outcome of readOutcomes(outcomesPath)) {
    pairs.push({ outcome, prediction: predictionOf(model, scorer, outcome.prompt) });
  }
  if (pairs.length === 0) {
    throw new FleetError('outcomes.invalid', `${outcomesPath}: expected at least one outcome, got none`);
  }
  const { evaluation, report } = evaluated(pairs);
  if (options.json === true) printJson({ ...evaluation, report: report ?? null });
  else printEvaluation(evaluation, report);
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

import { FleetError } from '@fleetgate/shared/errors';
import { type Command, InvalidArgumentError } from 'commander';

import { crossValidate, predictionOf } from '../gating/cross-validate.js';
import { readGateFile } from '../gating/disk-gate-store.js';
import { readOutcomes, readPromptLines, writeJsonLines } from '../gating/disk-outcomes.js';
import { evaluateGate, type GateEvaluation, type Prediction } from '../gating/evaluate-gate.js';
import { LinearScorer } from '../gating/linear-gate.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGateInProcess } from '../gating/process-gate-training.js';
import { printJson, printLine, printNote, printTable, showNumber } from './output.js';

interface TrainOptions {
  readonly out: string;
  readonly seed: number;
  readonly crossValidate?: number;
  readonly json?: boolean;
}

/** `fleetgate gate train|predict|eval`: the gate on files, without a fleet. */
export function registerGate(program: Command): void {
  const gate = program
    .command('gate')
    .description('train, apply and score a gate on outcome files (.jsonl or .jsonl.gz)');
  gate
    .command('train')
    .description(
      "learn to predict each model's quality from the prompt; columns: id, prompt, y, and if known task, out_tok",
    )
    .argument('<outcomes>', 'outcome file')
    .requiredOption('--out <file>', 'gate file to write')
    .option('--seed <n>', 'same outcomes and seed give the same gate', wholeNumber, 1)
    .option('--cross-validate <folds>', 'also report how well prompts that were held out are predicted', foldCount)
    .option('--json', 'print one JSON document')
    .action((outcomes: string, options: TrainOptions) => train(outcomes, options));
  gate
    .command('predict')
    .description('predict quality, uncertainty and answer length; reads only id, prompt and prompt_tok')
    .argument('<gate>', 'gate file')
    .argument('<prompts>', 'file with one prompt a line')
    .requiredOption('--out <file>', 'predictions: {"id","p","sd","out_tok"} a line')
    .option('--json', 'print one JSON document')
    .action((file: string, prompts: string, options: { readonly out: string; readonly json?: boolean }) =>
      predict(file, prompts, options),
    );
  gate
    .command('eval')
    .description("compare a gate's predictions with outcomes: errors, calibration, quality of its choice")
    .argument('<gate>', 'gate file')
    .argument('<outcomes>', 'outcome file; prompts the gate was trained on flatter it')
    .option('--json', 'print one JSON document')
    .action((file: string, outcomes: string, options: { readonly json?: boolean }) =>
      evaluate(file, outcomes, options),
    );
}

async function train(outcomesPath: string, options: TrainOptions): Promise<void> {
  const heldOut = options.crossValidate === undefined ? undefined : await heldOutEvaluation(outcomesPath, options);
  const started = Date.now();
  printNote(`training on ${outcomesPath}`);
  const model = await trainGateInProcess({
    outcomesPath,
    gatePath: options.out,
    seed: options.seed,
    onProgress: (step, done) => printNote(`  ${Math.round(100 * done)} % ${step}`),
  });
  const seconds = (Date.now() - started) / 1000;
  if (options.json === true) {
    printJson({
      out: options.out,
      trainedOn: model.trainedOn,
      models: model.experts.map((expert) => expert.name),
      classes: model.classes.map((one) => one.label),
      seconds,
      ...(heldOut === undefined ? {} : { heldOut }),
    });
    return;
  }
  if (heldOut !== undefined) {
    printLine(`On prompts held out (${options.crossValidate} folds):`);
    printEvaluation(heldOut);
    printLine();
  }
  const { experts, classes, trainedOn } = model;
  printLine(
    `${options.out}: ${trainedOn} outcomes, ${experts.length} models, ${classes.length} classes, ${seconds.toFixed(1)} s`,
  );
}

async function heldOutEvaluation(path: string, options: TrainOptions): Promise<GateEvaluation> {
  const outcomes: Outcome[] = [];
  for await (const outcome of readOutcomes(path)) outcomes.push(outcome);
  const folds = options.crossValidate ?? 2;
  const predictions = crossValidate(outcomes, folds, options.seed, (fold) =>
    printNote(`cross-validation: fold ${fold + 1} of ${folds}`),
  );
  return evaluateGate(
    outcomes.flatMap((outcome, at) => {
      const prediction = predictions[at];
      return prediction === undefined ? [] : [{ truth: { task: outcome.task, y: outcome.y }, prediction }];
    }),
  );
}

async function predict(
  file: string,
  prompts: string,
  options: { readonly out: string; readonly json?: boolean },
): Promise<void> {
  const model = await readGateFile(file);
  const scorer = new LinearScorer(model);
  async function* lines(): AsyncGenerator<object> {
    for await (const line of readPromptLines(prompts)) {
      const { quality, sd, outputTokens } = predictionOf(model, scorer, line.prompt);
      yield { id: line.id, p: rounded(quality, 5), sd: rounded(sd, 5), out_tok: rounded(outputTokens, 1) };
    }
  }
  const count = await writeJsonLines(options.out, lines());
  if (options.json === true) printJson({ out: options.out, predictions: count });
  else printLine(`${options.out}: ${count} predictions`);
}

async function evaluate(file: string, outcomesPath: string, options: { readonly json?: boolean }): Promise<void> {
  const model = await readGateFile(file);
  const scorer = new LinearScorer(model);
  const pairs: { truth: { task: string | undefined; y: Outcome['y'] }; prediction: Prediction }[] = [];
  for await (const outcome of readOutcomes(outcomesPath)) {
    pairs.push({
      truth: { task: outcome.task, y: outcome.y },
      prediction: predictionOf(model, scorer, outcome.prompt),
    });
  }
  if (pairs.length === 0) {
    throw new FleetError('outcomes.invalid', `${outcomesPath}: expected at least one outcome, got none`);
  }
  const evaluation = evaluateGate(pairs);
  if (options.json === true) printJson(evaluation);
  else printEvaluation(evaluation);
}

function printEvaluation(evaluation: GateEvaluation): void {
  printTable(
    [
      { title: 'model', value: (row) => row.model },
      { title: 'outcomes', value: (row) => String(row.outcomes), align: 'right' },
      { title: 'quality', value: (row) => showNumber(row.meanQuality, '', 3), align: 'right' },
      { title: 'MAE', value: (row) => showNumber(row.meanAbsoluteError, '', 3), align: 'right' },
      { title: 'bias', value: (row) => showNumber(row.bias, '', 3), align: 'right' },
      { title: 'ECE', value: (row) => showNumber(row.ece, '', 3), align: 'right' },
      { title: 'within sd', value: (row) => `${Math.round(100 * row.withinOneSd)} %`, align: 'right' },
    ],
    evaluation.models,
  );
  printLine();
  printCalibration(evaluation);
  printLine();
  printConfusion(evaluation);
  printLine();
  const { bestSingle, capturedOverBestSingle } = evaluation;
  printLine(`mean quality of the gate's choice  ${evaluation.choice.toFixed(4)}`);
  printLine(`oracle (best model of each prompt) ${evaluation.oracle.toFixed(4)}`);
  printLine(`best single model                  ${bestSingle.quality.toFixed(4)}  ${bestSingle.model}`);
  printLine(`oracle's gain over it captured     ${percent(capturedOverBestSingle)}`);
}

function printCalibration(evaluation: GateEvaluation): void {
  const bins = new Map<string, { count: number; predicted: number; actual: number }>();
  for (const bin of evaluation.models.flatMap((one) => one.reliability)) {
    const name = `${bin.from.toFixed(1)}-${bin.to.toFixed(1)}`;
    const sum = bins.get(name) ?? { count: 0, predicted: 0, actual: 0 };
    bins.set(name, {
      count: sum.count + bin.count,
      predicted: sum.predicted + bin.count * bin.predicted,
      actual: sum.actual + bin.count * bin.actual,
    });
  }
  printTable(
    [
      { title: 'predicted', value: ([name]) => name },
      { title: 'count', value: ([, bin]) => String(bin.count), align: 'right' },
      { title: 'mean predicted', value: ([, bin]) => (bin.predicted / bin.count).toFixed(3), align: 'right' },
      { title: 'mean actual', value: ([, bin]) => (bin.actual / bin.count).toFixed(3), align: 'right' },
    ],
    [...bins].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function printConfusion(evaluation: GateEvaluation): void {
  const chosen = [...new Set(Object.values(evaluation.confusion).flatMap((row) => Object.keys(row)))].sort();
  printTable(
    [
      { title: 'task \\ chosen', value: ([task]) => task },
      ...chosen.map((model) => ({
        title: model,
        value: ([, row]: readonly [string, Readonly<Record<string, number>>]) => String(row[model] ?? 0),
        align: 'right' as const,
      })),
    ],
    Object.entries(evaluation.confusion).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function percent(share: number | null): string {
  return share === null ? '-' : `${(100 * share).toFixed(1)} %`;
}

function rounded(values: Readonly<Record<string, number>>, digits: number): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value.toFixed(digits))]));
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`expected a whole number, got ${text}.`);
  return Number(text);
}

function foldCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 2 || value > 20) {
    throw new InvalidArgumentError(`expected 2 to 20 folds, got ${text}.`);
  }
  return value;
}

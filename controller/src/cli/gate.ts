import { type Command, InvalidArgumentError } from 'commander';

import { crossValidate, predictionOf } from '../gating/cross-validate.js';
import { readGateFile } from '../gating/disk-gate-store.js';
import { readOutcomes, readPromptLines, writeJsonLines } from '../gating/disk-outcomes.js';
import { LinearScorer } from '../gating/linear-scorer.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGateInProcess } from '../gating/process-gate-training.js';
import { withConnection } from './api-client.js';
import {
  compareFiles,
  type Evaluated,
  evaluated,
  evaluateFile,
  evaluationDocument,
  printEvaluated,
} from './gate-eval.js';
import { showGate } from './gate-show.js';
import { printJson, printLine, printNote } from './output.js';

interface TrainOptions {
  readonly out: string;
  readonly seed: number;
  readonly crossValidate?: number;
  readonly json?: boolean;
}

/** `fleetgate gate train|predict|eval|drift`: the gate on files, without a fleet; `gate show`: that of a running one. */
export function registerGate(program: Command): void {
  const gate = program
    .command('gate')
    .description('train, apply and score a gate on outcome files (.jsonl or .jsonl.gz), or look at a running one');
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
    .action(evaluateFile);
  gate
    .command('drift')
    .description('compare two files of prompts or outcomes, as a gate sees them: classes, novelty, predicted quality')
    .argument('<gate>', 'gate file')
    .argument('<before>', 'file with one prompt a line')
    .argument('<after>', 'the same, later')
    .option('--json', 'print one JSON document')
    .action(compareFiles);
  withConnection(
    gate.command('show').description('the gate of a running controller: state, experts, classes, traffic'),
  ).action(showGate);
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
      ...(heldOut === undefined ? {} : { heldOut: evaluationDocument(heldOut) }),
    });
    return;
  }
  if (heldOut !== undefined) {
    printLine(`On prompts held out (${options.crossValidate} folds):`);
    printEvaluated(heldOut);
    printLine();
  }
  const { experts, classes, trainedOn } = model;
  printLine(
    `${options.out}: ${trainedOn} outcomes, ${experts.length} models, ${classes.length} classes, ${seconds.toFixed(1)} s`,
  );
}

async function heldOutEvaluation(path: string, options: TrainOptions): Promise<Evaluated> {
  const outcomes: Outcome[] = [];
  for await (const outcome of readOutcomes(path)) outcomes.push(outcome);
  const folds = options.crossValidate ?? 2;
  const predictions = crossValidate(outcomes, folds, options.seed, (fold) =>
    printNote(`cross-validation: fold ${fold + 1} of ${folds}`),
  );
  return evaluated(
    outcomes.flatMap((outcome, at) => {
      const prediction = predictions[at];
      return prediction === undefined ? [] : [{ outcome, prediction }];
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

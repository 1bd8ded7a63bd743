/** Scores of predictions against outcomes. Pure; used by `gate eval`, cross-validation and tests. */

export interface Prediction {
  readonly quality: Readonly<Record<string, number>>;
  readonly sd: Readonly<Record<string, number>>;
}

export interface Truth {
  readonly task: string | undefined;
  readonly y: Readonly<Record<string, number>>;
}

export interface ReliabilityBin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly predicted: number;
  readonly actual: number;
}

export interface ModelEvaluation {
  readonly model: string;
  readonly outcomes: number;
  readonly meanQuality: number;
  readonly meanAbsoluteError: number;
  /** Predicted less actual. */
  readonly bias: number;
  /** Expected calibration error over ten equal bins of predicted quality (Naeini et al. 2015). */
  readonly ece: number;
  /** Share of outcomes within one predicted sd; 0.68 for a normal error. */
  readonly withinOneSd: number;
  readonly reliability: readonly ReliabilityBin[];
}

export interface GateEvaluation {
  readonly prompts: number;
  readonly meanAbsoluteError: number;
  readonly ece: number;
  readonly models: readonly ModelEvaluation[];
  /** Mean quality when the best predicted model answers each prompt. */
  readonly choice: number;
  /** Mean quality when the truly best one does. */
  readonly oracle: number;
  readonly bestSingle: { readonly model: string; readonly quality: number };
  /** Share of the oracle's gain over the best single model that the choice gets; null when there is no such gain. */
  readonly capturedOverBestSingle: number | null;
  /** The same over each single model. */
  readonly capturedOver: Readonly<Record<string, number | null>>;
  /** How often each model was chosen for each task. */
  readonly confusion: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const BINS = 10;
const NO_TASK = '(none)';

/** Compares predictions with outcomes, pair by pair; a model without an outcome on a prompt is not a choice there. */
export function evaluateGate(
  pairs: readonly { readonly truth: Truth; readonly prediction: Prediction }[],
): GateEvaluation {
  const models = [...new Set(pairs.flatMap(({ truth }) => Object.keys(truth.y)))].sort();
  const evaluations = models.map((model) => evaluateModel(model, pairs));
  const confusion: Record<string, Record<string, number>> = {};
  let choice = 0;
  let oracle = 0;
  let chosenCount = 0;
  for (const { truth, prediction } of pairs) {
    const chosen = bestOf(Object.keys(truth.y), (model) => prediction.quality[model]);
    if (chosen === undefined) continue;
    chosenCount++;
    choice += truth.y[chosen] ?? 0;
    oracle += Math.max(...Object.values(truth.y));
    const row = (confusion[truth.task ?? NO_TASK] ??= {});
    row[chosen] = (row[chosen] ?? 0) + 1;
  }
  choice /= Math.max(1, chosenCount);
  oracle /= Math.max(1, chosenCount);
  const single = (model: string) => evaluations.find((one) => one.model === model)?.meanQuality ?? 0;
  const captured = (quality: number) => (oracle - quality > 1e-9 ? (choice - quality) / (oracle - quality) : null);
  // A model that was measured on few prompts only is no fair single choice.
  const everywhere = evaluations.filter((one) => one.outcomes === pairs.length).map((one) => one.model);
  const best = bestOf(everywhere.length > 0 ? everywhere : models, single) ?? '';
  return {
    prompts: pairs.length,
    meanAbsoluteError: mean(evaluations.map((one) => one.meanAbsoluteError)),
    ece: mean(evaluations.map((one) => one.ece)),
    models: evaluations,
    choice,
    oracle,
    bestSingle: { model: best, quality: single(best) },
    capturedOverBestSingle: captured(single(best)),
    capturedOver: Object.fromEntries(models.map((model) => [model, captured(single(model))])),
    confusion,
  };
}

function evaluateModel(
  model: string,
  pairs: readonly { readonly truth: Truth; readonly prediction: Prediction }[],
): ModelEvaluation {
  const bins = Array.from({ length: BINS }, () => ({ count: 0, predicted: 0, actual: 0 }));
  let [count, actualSum, absolute, bias, within] = [0, 0, 0, 0, 0];
  for (const { truth, prediction } of pairs) {
    const actual = truth.y[model];
    const predicted = prediction.quality[model];
    if (actual === undefined || predicted === undefined) continue;
    count++;
    actualSum += actual;
    absolute += Math.abs(predicted - actual);
    bias += predicted - actual;
    if (Math.abs(predicted - actual) <= (prediction.sd[model] ?? 0)) within++;
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.floor(predicted * BINS)))];
    if (bin === undefined) continue;
    bin.count++;
    bin.predicted += predicted;
    bin.actual += actual;
  }
  const all = Math.max(1, count);
  return {
    model,
    outcomes: count,
    meanQuality: actualSum / all,
    meanAbsoluteError: absolute / all,
    bias: bias / all,
    ece: bins.reduce((sum, bin) => sum + Math.abs(bin.predicted - bin.actual), 0) / all,
    withinOneSd: within / all,
    reliability: bins.flatMap((bin, at) =>
      bin.count === 0
        ? []
        : [
            {
              from: at / BINS,
              to: (at + 1) / BINS,
              count: bin.count,
              predicted: bin.predicted / bin.count,
              actual: bin.actual / bin.count,
            },
          ],
    ),
  };
}

/** The highest; ties go to the first name. Undefined when none has a value. */
function bestOf(names: readonly string[], valueOf: (name: string) => number | undefined): string | undefined {
  let best: { readonly name: string; readonly value: number } | undefined;
  for (const name of names) {
    const value = valueOf(name);
    if (value === undefined) continue;
    if (best === undefined || value > best.value || (value === best.value && name < best.name)) best = { name, value };
  }
  return best?.name;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

import type { GateEvaluation } from '../gating/evaluate-gate.js';
import type { GateReport } from '../gating/gate-report.js';
import { printLine, printTable, showNumber } from './output.js';

/** Errors, calibration, confusion, the oracle, and what each model is worth and costs. */
export function printEvaluation(evaluation: GateEvaluation, report: GateReport | undefined): void {
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
  printLine(`mean quality of the gate's choice  ${evaluation.choice.toFixed(4)}`);
  printLine(`oracle (best model of each prompt) ${evaluation.oracle.toFixed(4)}`);
  const { bestSingle, capturedOverBestSingle } = evaluation;
  printLine(`best single model                  ${bestSingle.quality.toFixed(4)}  ${bestSingle.model}`);
  printLine(`oracle's gain over it captured     ${percent(capturedOverBestSingle)}`);
  if (report === undefined) return;
  printLine();
  printOracle(report.oracle);
  printLine();
  printSpecialisation(report);
  printLine();
  printClasses(report);
}

/** Two rows for the choices of gate and oracle, then what they are held against; the models that every prompt has. */
function printOracle({ gate, oracle, references }: GateReport['oracle']): void {
  printTable(
    [
      { title: 'chosen by', value: (row) => row.name },
      { title: 'quality', value: (row) => row.quality.toFixed(4), align: 'right' },
      { title: 'cost', value: (row) => showNumber(row.cost, '', 2), align: 'right' },
      {
        title: "oracle's gain over it captured by the gate",
        value: (row) => (row.captured === undefined ? '' : percent(row.captured)),
        align: 'right',
      },
    ],
    [{ name: 'oracle', ...oracle, captured: undefined }, { name: 'gate', ...gate, captured: undefined }, ...references],
  );
  if (gate.cost !== null) {
    printLine('cost: billion parameters, times thousand tokens of prompt and answer where every line has both');
  }
}

function printSpecialisation({ specialisation }: GateReport): void {
  printTable(
    [
      { title: 'model', value: (row) => row.expert },
      { title: 'home', value: (row) => row.home },
      { title: 'DSI', value: (row) => row.dsi.toFixed(3), align: 'right' },
      { title: 'GG', value: (row) => row.gg.toFixed(3), align: 'right' },
      { title: 'CDTR', value: (row) => row.cdtr.toFixed(3), align: 'right' },
    ],
    specialisation,
  );
}

function printClasses({ classes }: GateReport): void {
  printTable(
    [
      { title: 'task', value: (row) => row.task },
      { title: 'model', value: (row) => row.model },
      { title: 'quality', value: (row) => row.quality.toFixed(3), align: 'right' },
      { title: 'predicted', value: (row) => row.predicted.toFixed(3), align: 'right' },
      { title: 'over best single', value: (row) => signed(row.gain), align: 'right' },
      { title: 'cost', value: (row) => showNumber(row.cost, '', 2), align: 'right' },
      { title: 'asked', value: (row) => percent(row.chosen), align: 'right' },
    ],
    classes.flatMap(({ task, models }) => models.map((model) => ({ task, ...model }))),
  );
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
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

/** The figures on MoE^2's claims as a report for a person. Pure. */
import type { BaselineComparison } from '../optimiser/baseline-comparison.js';
import { BASELINES } from '../optimiser/baselines.js';

import { type BenchReport, type BenchTable, figure } from './bench-report.js';
import type { Moe2Figures } from './disk-moe2-figures.js';
import { meanOf } from './distribution.js';
import type { MaskFigures } from './mask-figures.js';
import type { NamedComparison, TradeOffFigures, TradeOffPoint } from './trade-off-figures.js';

const NONE = '-';
const COMPARED = ['experts', 'ours', 'proven', ...BASELINES];

export function moe2Report({ instances, sets }: Moe2Figures): BenchReport {
  return {
    name: 'moe2',
    figures: sets.flatMap(({ name, masks, tradeOff }) => [
      ...maskRows(name, masks),
      ...(tradeOff === undefined ? [] : lossFigures(name, tradeOff)),
    ]),
    tables: [...(instances.length === 0 ? [] : [instanceTable(instances)]), ...sets.flatMap(setTables)],
    notes: [
      'masked: trained on all experts, others left out; retrained: trained on the selection alone; held-out prompts',
      'training gap: how far the masked gate is from the best gate of the selection on the training prompts themselves',
      'quality of a trade-off: each class on the best chosen expert, classes weighted by their prompts',
      'energy and delay are modelled: each token moves all weights of its model once, on one Jetson Orin Nano',
    ],
  };
}

function setTables({ name, masks, tradeOff }: Moe2Figures['sets'][number]): BenchTable[] {
  const tables = [regretTable(name, masks), fallsTable(name, masks)];
  if (tradeOff === undefined) return tables;
  return [
    ...tables,
    tradeOffTable(`${name}: quality over the energy of the selection, J`, tradeOff.energy),
    tradeOffTable(`${name}: quality over the delay of a class, s, with half of all energy`, tradeOff.delay),
  ];
}

function instanceTable(instances: readonly NamedComparison[]): BenchTable {
  return {
    title: 'instances: value of the selection',
    columns: ['instance', ...COMPARED],
    rows: instances.map((one) => [one.name, ...comparedCells(one)]),
  };
}

function maskRows(name: string, masks: MaskFigures) {
  return [
    figure(`${name}: largest difference of our gate, masked and retrained`, 'quality', masks.gateDifference),
    figure(`${name}: quality of our gate masked`, 'quality', masks.gateChosen, { name: 'oracle', value: masks.oracle }),
    ...masks.softmax.map(({ loss, chosen }) =>
      figure(`${name}: quality of our gate masked`, 'quality', masks.gateChosen, {
        name: `masked softmax (${loss})`,
        value: chosen.masked,
      }),
    ),
  ];
}

/** Ours over each baseline's, mean over the budgets at which the baseline has a choice. */
function lossFigures(name: string, { energy, delay }: TradeOffFigures) {
  return BASELINES.map((baseline) => {
    const both = [...energy, ...delay].filter((point) => point.baselines[baseline] !== null && (point.ours ?? 0) > 0);
    return figure(`${name}: quality over budgets, mean`, 'quality', meanOf(both.map(({ ours }) => ours ?? NaN)), {
      name: `${baseline} (${both.length} budgets)`,
      value: meanOf(both.map((point) => point.baselines[baseline] ?? NaN)),
    });
  });
}

function regretTable(name: string, masks: MaskFigures): BenchTable {
  return {
    title: `${name}: softmax gates on ${masks.softmax[0]?.selections ?? 0} selections of ${masks.experts.length} experts, ${masks.heldOut} prompts`,
    columns: ['loss', 'answered by', 'masked', 'retrained', 'regret', 'worst', 'moved', 'training gap', 'worst gap'],
    rows: masks.softmax.flatMap(({ loss, mixed, chosen, moved, trainingGap }) =>
      [
        { use: 'mixture', of: mixed },
        { use: 'largest share', of: chosen },
      ].map(({ use, of }) => [
        loss,
        use,
        ...[of.masked, of.retrained, of.regret, of.worst, moved, trainingGap.mean, trainingGap.worst].map(rounded),
      ]),
    ),
  };
}

function fallsTable(name: string, masks: MaskFigures): BenchTable {
  return {
    title: `${name}: how often one more expert lowers the value of a selection`,
    columns: ['gate', 'pairs', 'falls', 'mean fall', 'worst fall'],
    rows: masks.falls.map(({ what, pairs, share, mean, worst }) => [what, pairs, ...[share, mean, worst].map(rounded)]),
  };
}

function tradeOffTable(title: string, points: readonly TradeOffPoint[]): BenchTable {
  return {
    title,
    columns: ['share', 'bound', ...COMPARED],
    rows: points.map((point) => [point.share, rounded(point.bound), ...comparedCells(point)]),
  };
}

function comparedCells({ subset, ours, isProven, baselines }: BaselineComparison): (string | number)[] {
  const shown = (value: number | null) => (value === null ? NONE : rounded(value));
  return [subset.length, shown(ours), isProven ? 'yes' : 'no', ...BASELINES.map((each) => shown(baselines[each]))];
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** The figures on voting as a report for a person. Pure. */
import { type BenchReport, type BenchTable, figure } from './bench-report.js';
import type { HeldOutValue, VoteFigures } from './vote-figures.js';

/** `leftOut`: models that could not be chosen, since their size is not known. */
export function voteReport(name: string, figures: VoteFigures, leftOut: readonly string[]): BenchReport {
  return {
    name: 'vote',
    figures: figures.budgets.flatMap(({ budget, single, byClass }) =>
      byClass === null
        ? []
        : [
            figure(`${name}: right answers, voting within ${rounded(budget)}`, 'share', byClass.quality, {
              name: `best single expert (${single.expert})`,
              value: single.quality,
            }),
          ],
    ),
    tables: [expertTable(figures), budgetTable(figures), planTable(figures)],
    notes: [
      `${figures.prompts} prompts, each answered by experts and thresholds that were chosen without its fold (4 folds)`,
      'cost: billion parameters times thousand tokens of prompt and answer, mean per prompt, of everyone asked',
      'least gain of a fold: over the best single expert on the same fold',
      'mixed: the best of single experts drawn by chance, at the cost that voting by class came to',
      'routed: one expert a prompt, chosen by the gate; committee: one for all prompts, all of it asked',
      'by class: a committee for each class and half of the gate, asked in turn until the vote is clear',
      'committees are chosen by the exact monotone subset kernel on the training folds',
      ...(leftOut.length === 0 ? [] : [`left out, size not known: ${leftOut.join(', ')}`]),
    ],
  };
}

function expertTable({ experts, coverage }: VoteFigures): BenchTable {
  return {
    title: `single experts; ${rounded(coverage)} of prompts are answered right by one at least`,
    columns: ['expert', 'right', 'cost'],
    rows: experts.map(({ expert, quality, cost }) => [expert, rounded(quality), rounded(cost)]),
  };
}

function budgetTable({ budgets }: VoteFigures): BenchTable {
  const cells = (value: HeldOutValue | null) =>
    value === null ? ['-', '-'] : [rounded(value.quality), rounded(value.cost)];
  return {
    title: 'share of right answers on held-out prompts, and mean cost',
    columns: [
      ...['budget', 'single', 'mixed', 'routed', 'cost', 'committee', 'cost', 'by class', 'cost'],
      ...['folds', 'least gain of a fold'],
    ],
    rows: budgets.map(({ budget, single, mixed, routed, committee, byClass }) => [
      rounded(budget),
      rounded(single.quality),
      rounded(mixed),
      ...cells(routed),
      ...cells(committee),
      ...cells(byClass),
      ...(byClass === null ? ['-', '-'] : foldCells(byClass.byFold, single.byFold)),
    ]),
  };
}

function foldCells(own: readonly number[], single: readonly number[]): (string | number)[] {
  const gains = own.map((each, fold) => each - (single[fold] ?? 0));
  return [`${rounded(Math.min(...own))} to ${rounded(Math.max(...own))}`, rounded(Math.min(...gains))];
}

function planTable({ budgets }: VoteFigures): BenchTable {
  return {
    title: 'whom voting by class asks (first fold)',
    columns: ['asked', 'budget'],
    rows: budgets.flatMap(({ budget, plan }) => plan.map((policy) => [policy, rounded(budget)])),
  };
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

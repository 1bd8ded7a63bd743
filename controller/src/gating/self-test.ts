/** Does a gate, on this machine, say of some fixed prompts what it said where it was trained? Pure. */
import type { GateModel, Probe } from './gate-model.js';
import { LinearScorer } from './linear-scorer.js';

/** Fixed, so that no prompt of the outcomes has to be kept: of several domains, scripts, shapes and lengths. */
const PROMPTS: readonly string[] = [
  '',
  'What is 17 + 25?',
  'A farmer has 12 cows and buys 3 times as many. How many cows does the farmer have now?',
  'Write a Python function that returns the longest word of a list.\n\ndef longest(words: list[str]) -> str:',
  'Why did the old woman leave the castle, and what did the princess tell her brother?',
  'Which of the following is a symptom of anaemia?\nA. fatigue\nB. fever\nC. rash\nD. cough',
  'What was the change in net revenue from 2018 to 2019, in percent, if it rose from $1,204 to $1,377 million?',
  'Summarise the contract in one sentence, in plain English.',
  'Fa\u00e7ade na\u00efve co\u00f6perate \u00dcbung \u6f22\u5b57 \u{1f98a} \ufb01ne \u2460',
  'the same words again and again. '.repeat(300),
];
/** Standard libraries differ in the last bits of exp and log; a wrong weight shows in the first digits. */
const TOLERANCE = 1e-6;
const DIGITS = 9;
const LISTS = ['quality', 'sd', 'outputTokens', 'embedding'] as const;

/** What a gate that has just been trained says of the fixed prompts. */
export function probesOf(model: Omit<GateModel, 'probes'>): Probe[] {
  const scorer = new LinearScorer({ ...model, probes: [] });
  return PROMPTS.map((prompt) => probe(scorer, prompt));
}

/** Undefined when the gate reproduces its stored predictions; otherwise what differs, for a person. */
export function selfTest(model: GateModel): string | undefined {
  if (model.probes.length === 0) return 'it has no predictions to compare with';
  const scorer = new LinearScorer(model);
  for (const [at, stored] of model.probes.entries()) {
    const now = probe(scorer, stored.prompt);
    const which = `of probe ${at + 1} of ${model.probes.length} is not reproduced on this machine`;
    if (stored.classIndex !== now.classIndex) return `its stored class ${which}`;
    const differences = [
      ...LISTS.map((name) => ({ name, by: difference(stored[name], now[name]) })),
      { name: 'novelty', by: difference([stored.novelty, stored.promptTokens], [now.novelty, now.promptTokens]) },
    ];
    const worst = differences.reduce((most, one) => (one.by > most.by ? one : most));
    if (worst.by > TOLERANCE) return `its stored ${worst.name} ${which}: off by ${worst.by.toPrecision(2)}`;
  }
  return undefined;
}

function probe(scorer: LinearScorer, prompt: string): Probe {
  const { classIndex, promptTokens, novelty, ...score } = scorer.score(prompt);
  const listed = (values: Float64Array) => Array.from(values, rounded);
  return {
    prompt,
    classIndex,
    promptTokens,
    novelty: rounded(novelty),
    quality: listed(score.quality),
    sd: listed(score.sd),
    outputTokens: listed(score.outputTokens),
    embedding: listed(score.embedding),
  };
}

/** The largest, as a share of values above 1; Infinity for lists of different lengths and for figures that are none. */
function difference(stored: readonly number[], now: readonly number[]): number {
  if (stored.length !== now.length) return Infinity;
  const all = stored.map((value, at) => Math.abs(value - (now[at] ?? NaN)) / Math.max(1, Math.abs(value)));
  return all.reduce((most, one) => (Number.isNaN(one) ? Infinity : Math.max(most, one)), 0);
}

function rounded(value: number): number {
  return Number(value.toPrecision(DIGITS));
}

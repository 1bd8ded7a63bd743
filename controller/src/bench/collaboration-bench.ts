import type { ExpertView, ListBody } from '@fleetgate/shared/api/operations';

import { type BenchReport, type BenchTable, figure, type Progress } from './bench-report.js';
import { bitsPerByte } from './bits-per-byte.js';
import { perDomain, type ValidationPair } from './disk-validation-pairs.js';
import { distributionOf, meanOf } from './distribution.js';
import { type Answer, ask, scoreAnswer } from './fleet-client.js';
import type { HttpFleetClient } from './http-fleet-client.js';
import { mixedDocuments } from './mixed-documents.js';

/** Ways of answering, beside one expert. */
const WAYS = ['auto', 'cascade', 'ensemble', 'brief'] as const;
const DOMAIN_EXPERTS = 'ensemble of the domains';
const BEST_OF_DOCUMENT = 'best expert of each document';
/** Prompts of each domain that are answered, and how long: what an answer costs is the same for others. */
const ANSWERED = 3;
const ANSWER_TOKENS = 48;
const VOTED = 'vote';
/** Documents of each ordered pair of domains. */
const MOST_OF_A_PAIR = 6;

/**
 * Mean bits per byte of "all-6 mixture, posterior updated per token" on the first 120 validation pairs of each domain,
 * computed in float32 by the framework that the bundled experts were trained in (experts/README.md).
 */
const REFERENCE = { mean: 1.32, perDomain: 120 } as const;

interface Score {
  readonly domain: string;
  readonly bits: number;
  readonly bytes: number;
  readonly energyJ: number;
  readonly ms: number;
}

/**
 * What collaboration is worth and costs on a running fleet: reference answers scored under each way of answering, on
 * documents of one domain and on documents that turn from one to another, and answers written in each way.
 */
export async function collaborationBench(
  client: HttpFleetClient,
  all: readonly ValidationPair[],
  limit: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const pairs = perDomain(all, limit);
  const domains = [...new Set(pairs.map(({ domain }) => domain))];
  const { items } = await client.get<ListBody<ExpertView>>('/api/v1/experts');
  const experts = items.map((expert): string => expert.id).sort();
  const scoring = new Scoring(client, progress, signal);
  const own = domains.filter((domain) => experts.includes(domain));
  const restricted = { name: DOMAIN_EXPERTS, model: 'ensemble', experts: own };
  const ways = WAYS.map((model) => ({ name: model, model }));
  const single = await scoring.of('documents of one domain', inTurn(pairs), [...ways, restricted]);
  const mixed = await scoring.of(
    'documents of two domains',
    inTurn(mixedDocuments(all, Math.min(MOST_OF_A_PAIR, Math.ceil(limit / 5)))),
    [...ways, restricted, ...experts.map((model) => ({ name: model, model }))],
  );
  const served = experts.filter((expert) => mixed.get(expert)?.every((score) => score !== undefined) === true);
  mixed.set(BEST_OF_DOCUMENT, bestOf(served.map((expert) => mixed.get(expert) ?? [])));
  const answers = await answered(client, perDomain(pairs, ANSWERED), progress, signal);
  const meanOn = (scores: Scores, name: string): number => bitsPerByte(present(scores.get(name))).mean;
  const singles = served.map((expert) => [expert, meanOn(mixed, expert)] as const).sort(([, a], [, b]) => a - b);
  const [bestName, best] = singles[0] ?? ['none', NaN];
  const ensemble = meanOn(mixed, 'ensemble');
  const isReference = limit === REFERENCE.perDomain && own.length === 6;
  return {
    name: 'collaboration',
    figures: [
      figure('documents of two domains: ensemble', 'bit/byte', ensemble, {
        name: `best expert (${bestName})`,
        value: best,
      }),
      figure('documents of two domains: ensemble', 'bit/byte', ensemble, {
        name: BEST_OF_DOCUMENT,
        value: meanOn(mixed, BEST_OF_DOCUMENT),
      }),
      figure('documents of two domains: ensemble', 'bit/byte', ensemble, {
        name: 'top-1 routing (auto)',
        value: meanOn(mixed, 'auto'),
      }),
      figure('documents of one domain: ensemble', 'bit/byte', meanOn(single, 'ensemble'), {
        name: 'top-1 routing (auto)',
        value: meanOn(single, 'auto'),
      }),
      ...(isReference
        ? [
            figure('documents of one domain: ensemble of the six domains', 'bit/byte', meanOn(single, DOMAIN_EXPERTS), {
              name: 'reference',
              value: REFERENCE.mean,
            }),
          ]
        : []),
      figure(
        'joules of an answer: ensemble',
        'J',
        meanOf(answers.get('ensemble')?.map(({ energyJ }) => energyJ) ?? []),
        {
          name: 'auto',
          value: meanOf(answers.get('auto')?.map(({ energyJ }) => energyJ) ?? []),
        },
      ),
    ],
    tables: [
      scoreTable('documents of one domain, scored under', single),
      scoreTable('documents of two domains, one after the other, scored under', mixed),
      answerTable(answers),
    ],
    notes: [
      `the first ${limit} validation pairs of each domain; bits per byte of the answer given the prompt, mean of domains`,
      'documents of two domains: a pair of short ones, the prompt is the first question; mean of ordered pairs of domains',
      'joules and milliseconds of a scored document: all calls together, as the client waits; a mixture that writes asks every expert for every token',
      ...(own.length === domains.length ? [] : [`experts without a domain of their own here: ${own.join(', ')}`]),
    ],
  };
}

/** One document of each domain after the other: a run of one domain would be demand that the fleet plans for. */
function inTurn(documents: readonly ValidationPair[]): readonly ValidationPair[] {
  const seen = new Map<string, number>();
  const placed = documents.map((document) => {
    const at = seen.get(document.domain) ?? 0;
    seen.set(document.domain, at + 1);
    return { document, at };
  });
  return placed.toSorted((a, b) => a.at - b.at).map(({ document }) => document);
}

type Scores = Map<string, readonly (Score | undefined)[]>;

class Scoring {
  readonly #client: HttpFleetClient;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;

  constructor(client: HttpFleetClient, progress: Progress, signal: AbortSignal) {
    this.#client = client;
    this.#progress = progress;
    this.#signal = signal;
  }

  /** A way that the fleet cannot serve is left out after its first document. */
  async of(
    what: string,
    documents: readonly ValidationPair[],
    ways: readonly { readonly name: string; readonly model: string; readonly experts?: readonly string[] }[],
  ): Promise<Scores> {
    const scores = new Map(ways.map(({ name }) => [name, [] as (Score | undefined)[]] as const));
    const absent = new Set<string>();
    for (const [at, document] of documents.entries()) {
      if (at % 20 === 0) this.#progress(`${what}: ${at + 1} of ${documents.length}`);
      for (const { name, model, experts } of ways) {
        this.#signal.throwIfAborted();
        const score = absent.has(name) ? undefined : await this.#score(document, model, experts);
        if (score === undefined) absent.add(name);
        scores.get(name)?.push(score);
      }
    }
    return scores;
  }

  async #score(
    { domain, prompt, completion }: ValidationPair,
    model: string,
    experts: readonly string[] | undefined,
  ): Promise<Score | undefined> {
    const started = performance.now();
    const score = await scoreAnswer(this.#client, model, prompt, completion, experts);
    return score === undefined ? undefined : { ...score, domain, ms: performance.now() - started };
  }
}

function present(scores: readonly (Score | undefined)[] = []): readonly Score[] {
  return scores.flatMap((score) => (score === undefined ? [] : [score]));
}

/** Of each document the score of the expert that gives it the fewest bits. */
function bestOf(experts: readonly (readonly (Score | undefined)[])[]): readonly (Score | undefined)[] {
  return (experts[0] ?? []).map((_, at) =>
    present(experts.map((scores) => scores[at])).reduce<Score | undefined>(
      (best, score) => (best === undefined || score.bits < best.bits ? score : best),
      undefined,
    ),
  );
}

async function answered(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  progress: Progress,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly Answer[]>> {
  const answers = new Map<string, Answer[]>();
  for (const model of [...WAYS, VOTED]) {
    progress(`answers of up to ${ANSWER_TOKENS} tokens: ${model}`);
    const own: Answer[] = [];
    for (const { prompt } of pairs) {
      signal.throwIfAborted();
      own.push(await ask(client, model, prompt, ANSWER_TOKENS));
    }
    answers.set(model, own);
  }
  return answers;
}

function scoreTable(title: string, scores: Scores): BenchTable {
  const rows = [...scores]
    .map(([name, all]) => [name, present(all)] as const)
    .filter(([, all]) => all.length > 0)
    .map(([name, all]) => {
      const { mean } = bitsPerByte(all);
      const joules = meanOf(all.map(({ energyJ }) => energyJ));
      return [name, all.length, mean.toFixed(3), joules.toFixed(3), meanOf(all.map(({ ms }) => ms)).toFixed(0)];
    });
  return { title, columns: ['by', 'documents', 'bit/byte', 'J', 'ms'], rows };
}

function answerTable(answers: ReadonlyMap<string, readonly Answer[]>): BenchTable {
  const rows = [...answers].map(([model, own]) => {
    const { p50, p90 } = distributionOf(own.map(({ totalMs }) => totalMs));
    const tokens = meanOf(own.map(({ outputTokens }) => outputTokens));
    const joules = meanOf(own.map(({ energyJ }) => energyJ));
    return [model, own.length, tokens.toFixed(1), joules.toFixed(2), p50.toFixed(0), p90.toFixed(0)];
  });
  const title = `answers of up to ${ANSWER_TOKENS} tokens`;
  return { title, columns: ['model', 'answers', 'tokens', 'J', 'ms (median)', 'ms (90 %)'], rows };
}

import type { LlamaEngine } from '../engine/llama-engine.js';
import { answerOf, type EngineKind, modelOf, spentOn, startEngine } from './bench-engine-process.js';
import { ENGINE_NAMES } from './bench-engine-report.js';
import { medianOf } from './bench-tables.js';
import { type Subject, type Surroundings, textOf } from './bench-engine-run.js';

/** So many answers at once, against one after the other. */
export interface TogetherFigure {
  readonly model: string;
  readonly engine: string;
  readonly atOnce: number;
  /** Medians of the turns: tokens of all answers a second, and CPU time of a token, ms. */
  readonly tokensPerS: number;
  readonly cpuMs: number;
  /** Of all answers, how many were what they are one after the other, to the letter. */
  readonly sameTexts: number;
  readonly answers: number;
}

/** One turn of so many at once. */
export interface TogetherTurn {
  readonly tokens: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly texts: readonly string[];
}

const AT_ONCE = [1, 2, 4, 8] as const;
const ANSWERS = 8;
/** Enough, and large models take seconds for each. */
const MOST_TOKENS = 24;
const MOST_TURNS = 3;
/** Short: what is measured is the tokens of the answers. */
const PROMPT_WORDS = 8;

/** Several answers of one model at once: the same prompts by 1, 2, 4 and 8 sequences, taking turns. */
export async function measureTogether(
  subject: Subject,
  hosts: EngineKind,
  { clock, random, tell, signal }: Surroundings,
): Promise<readonly TogetherFigure[]> {
  const engines: LlamaEngine[] = [];
  try {
    for (const sequences of AT_ONCE) {
      const engine = startEngine(hosts, subject.threads, clock, sequences);
      engines.push(engine);
      await engine.load(modelOf(subject), signal);
    }
    const turns: TogetherTurn[][] = AT_ONCE.map(() => []);
    // The first one warms up.
    const wanted = Math.min(MOST_TURNS, subject.turns);
    for (let turn = 0; turn <= wanted; turn++) {
      const prompts = Array.from({ length: ANSWERS }, () => textOf(PROMPT_WORDS, random));
      for (let i = 0; i < engines.length; i++) {
        const at = (turn + i) % engines.length;
        const [engine, atOnce] = [engines[at], AT_ONCE[at]];
        if (engine === undefined || atOnce === undefined) continue;
        const measured = await answerAll(engine, prompts, {
          atOnce,
          tokens: Math.min(MOST_TOKENS, subject.tokens),
          signal,
        });
        if (turn > 0) turns[at]?.push(measured);
      }
      tell(`${subject.name}, at once: turn ${turn} of ${wanted}`);
    }
    return AT_ONCE.map((atOnce, at) => togetherFigure(subject.name, hosts, atOnce, turns[at] ?? [], turns[0] ?? []));
  } finally {
    for (const engine of engines) await engine.close();
  }
}

/** Medians of the turns; `alone` are the same turns with one answer at a time. Pure. */
export function togetherFigure(
  model: string,
  hosts: EngineKind,
  atOnce: number,
  turns: readonly TogetherTurn[],
  alone: readonly TogetherTurn[],
): TogetherFigure {
  const same = turns.map(({ texts }, turn) => texts.filter((text, i) => text === alone[turn]?.texts[i]).length);
  return {
    model,
    engine: ENGINE_NAMES[hosts],
    atOnce,
    tokensPerS: medianOf(turns.map(({ tokens, ms }) => (1000 * tokens) / ms)),
    cpuMs: medianOf(turns.map(({ tokens, cpuMs }) => cpuMs / tokens)),
    sameTexts: same.reduce((sum, one) => sum + one, 0),
    answers: turns.reduce((sum, { texts }) => sum + texts.length, 0),
  };
}

async function answerAll(
  engine: LlamaEngine,
  prompts: readonly string[],
  { atOnce, tokens: most, signal }: { readonly atOnce: number; readonly tokens: number; readonly signal: AbortSignal },
): Promise<TogetherTurn> {
  const texts: string[] = [];
  let [next, tokens] = [0, 0];
  const work = async (): Promise<void> => {
    for (let i = next++; i < prompts.length; i = next++) {
      const { text, decoded } = await answerOf(engine, prompts[i] ?? '', most, signal);
      texts[i] = text;
      // The first token comes of reading the prompt.
      tokens += decoded + 1;
    }
  };
  const [startedAt, before] = [performance.now(), spentOn(engine.childPid)];
  await Promise.all(Array.from({ length: atOnce }, work));
  return { tokens, ms: performance.now() - startedAt, cpuMs: spentOn(engine.childPid) - before, texts };
}

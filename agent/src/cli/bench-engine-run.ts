import type { Clock } from '@fleetgate/shared/clock';
import type { Random } from '@fleetgate/shared/random';

import { forgetFile } from './bench-offload-run.js';
import {
  type Answered,
  answerOf,
  type Contestant,
  type EngineKind,
  type Loading,
  modelOf,
  openDirect,
  openEngine,
  residentBytes,
  startEngine,
} from './bench-engine-process.js';

/** A model to be measured, and how much of it. */
export interface Subject extends Loading {
  readonly name: string;
  /** Words of a prompt; a token or more each. */
  readonly promptWords: number;
  /** Tokens of an answer at most. */
  readonly tokens: number;
  readonly turns: number;
}

/** One prompt, answered by each of the three. */
export type Turn = Readonly<Record<'direct' | EngineKind, Answered>>;

/** One start from nothing. Its times add up to the first text. */
export interface ColdStart {
  readonly startMs: number;
  readonly loadMs: number;
  readonly firstMs: number;
}

export interface FirstTokens {
  readonly cold: readonly ColdStart[];
  /** The model is resident, the prompt is new. */
  readonly warm: readonly Answered[];
  /** The prompt begins as the one before did: all but its last words. */
  readonly prefix: readonly Answered[];
}

export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly tell: (text: string) => void;
  readonly signal: AbortSignal;
}

const ENGINES = ['models', 'slabs'] as const;
/** Of a prompt, what is new after a prefix that was read before. */
const NEW_WORDS = 8;
const WORDS = (
  'the a of and to in was that for with it is on as his they be at one have this from by hot but some what there we can ' +
  'out other were all your when up use word how said each she which do their time if will way about many then them'
).split(' ');

/** All three alive at once and taking turns, each turn another one first. */
export async function measureSpeed(subject: Subject, around: Surroundings): Promise<readonly Turn[]> {
  const { clock, random, tell, signal } = around;
  const open: Contestant[] = [];
  const keep = async (opening: Promise<Contestant>): Promise<Contestant> => {
    const contestant = await opening;
    open.push(contestant);
    return contestant;
  };
  try {
    const order: readonly (readonly [keyof Turn, Contestant])[] = [
      ['direct', await keep(openDirect(subject, signal))],
      ['models', await keep(openEngine('models', subject, clock, signal))],
      ['slabs', await keep(openEngine('slabs', subject, clock, signal))],
    ];
    const turns: Turn[] = [];
    // The first one warms up.
    for (let turn = 0; turn <= subject.turns; turn++) {
      const prompt = textOf(subject.promptWords, random);
      const answers: Partial<Record<keyof Turn, Answered>> = {};
      for (let i = 0; i < order.length; i++) {
        const [name, contestant] = order[(turn + i) % order.length] ?? order[0] ?? raise();
        answers[name] = await contestant.answer(prompt, subject.tokens, signal);
      }
      const { direct, models, slabs } = answers;
      if (turn > 0 && direct && models && slabs) turns.push({ direct, models, slabs });
      tell(`${subject.name}: turn ${turn} of ${subject.turns}`);
    }
    return turns;
  } finally {
    await Promise.all(open.map((contestant) => contestant.close()));
  }
}

/** How soon a text begins: with nothing resident and the file not in memory, resident, and with most of the prompt read. */
export async function measureFirstTokens(
  subject: Subject,
  hosts: EngineKind,
  around: Surroundings,
): Promise<FirstTokens> {
  const cold: ColdStart[] = [];
  const [warm, prefix]: [Answered[], Answered[]] = [[], []];
  for (let turn = 0; turn < subject.turns; turn++) {
    await forgetFile(subject.path);
    const { engine, ...start } = await startCold(subject, hosts, around);
    try {
      cold.push(start);
      const ask = (prompt: string): Promise<Answered> => answerOf(engine, prompt, 1, around.signal);
      warm.push(await ask(textOf(subject.promptWords, around.random)));
      const shared = textOf(subject.promptWords - NEW_WORDS, around.random);
      await ask(`${shared} ${textOf(NEW_WORDS, around.random)}`);
      prefix.push(await ask(`${shared} ${textOf(NEW_WORDS, around.random)}`));
    } finally {
      await engine.close();
    }
    around.tell(`${subject.name}, first text: turn ${turn + 1} of ${subject.turns}`);
  }
  return { cold, warm, prefix };
}

async function startCold(subject: Subject, hosts: EngineKind, { clock, random, signal }: Surroundings) {
  const engine = startEngine(hosts, subject.threads, clock);
  try {
    const startedAt = performance.now();
    await engine.version();
    const readyAt = performance.now();
    await engine.load(modelOf(subject), signal);
    const loadedAt = performance.now();
    const { firstMs } = await answerOf(engine, textOf(subject.promptWords, random), 1, signal);
    return { engine, startMs: readyAt - startedAt, loadMs: loadedAt - readyAt, firstMs };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Memory of each engine's process before it has a model, bytes. */
export async function emptyChildren(clock: Clock): Promise<Readonly<Record<EngineKind, number | undefined>>> {
  const memory: Record<EngineKind, number | undefined> = { models: undefined, slabs: undefined };
  for (const hosts of ENGINES) {
    const engine = startEngine(hosts, 1, clock);
    try {
      await engine.version();
      memory[hosts] = residentBytes(engine.childPid);
    } finally {
      await engine.close();
    }
  }
  return memory;
}

/** Common words, so many of them. */
export function textOf(words: number, random: Random): string {
  const word = (): string => WORDS[Math.floor(WORDS.length * random.uniform())] ?? 'the';
  return Array.from({ length: Math.max(1, words) }, word).join(' ');
}

function raise(): never {
  throw new Error('an index within the list');
}

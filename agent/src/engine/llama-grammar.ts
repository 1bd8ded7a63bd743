import type { Llama, LlamaGrammarEvaluationState, LlamaModel } from 'node-llama-cpp';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type Grammar, MOST_SCHEMA_DEPTH, schemaDepth } from '@fleetgate/shared/protocol/grammar';
import { MOST_TOP_LOG_PROBS } from '@fleetgate/shared/protocol/job';

/** A schema or grammar beyond this is refused: turning it into rules, and every token after, would take too long. */
const MOST_CHARACTERS = 256 * 1024;
/**
 * Of all repetitions together: llama.cpp writes each out, about 140 bytes each time, but bounds (at `LLAMA_MOST_REPEATS`)
 * each one only. A grammar of the length allowed could ask for 6 GB.
 */
const MOST_REPEATS = 64 * 1024;
/** Of one repetition; llama.cpp refuses it from here on, before it writes anything out. */
const LLAMA_MOST_REPEATS = 2000;
/** What node-llama-cpp puts after a schema's value, to stop there by itself: with others it goes on to the last token. */
const SCHEMA_END = String.raw` "\n\n\n\n" [\n]*`;
const COUNTS: ReadonlySet<string> = new Set(['minItems', 'maxItems', 'minLength', 'maxLength']);

/** Throws `request.invalid` for more alternatives than an answer tells. */
export function checkTopLogProbs(count: number | undefined): void {
  if (count === undefined || (Number.isInteger(count) && count >= 0 && count <= MOST_TOP_LOG_PROBS)) return;
  throw new FleetError('request.invalid', `top log-probabilities: expected 0 to ${MOST_TOP_LOG_PROBS}, got ${count}`);
}

let opened: Promise<Llama> | undefined;

/** A runtime for reading schemas, where there is no other; opened once a process. */
function ownLlama(): Promise<Llama> {
  return (opened ??= import('node-llama-cpp')
    .then(({ getLlama, LlamaLogLevel }) =>
      getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error }),
    )
    .catch((error: unknown) => {
      opened = undefined;
      throw error;
    }));
}

/**
 * A grammar as llama.cpp reads it (GBNF, root rule `root`). Throws `request.invalid` for a schema that cannot be turned into
 * one, and for what is too large or repeats too much. What is so ambiguous that a token takes for ever is ended by the
 * engine's watchdog.
 */
export async function grammarText(grammar: Grammar, llama: () => Promise<Llama> = ownLlama): Promise<string> {
  if (grammar.kind === 'gbnf') {
    // llama.cpp reads groups by recursion: 20 000 of them end the process.
    const rules = bareRules(checkedLength(grammar.text, 'grammar'));
    checkDepth('grammar', nestingOf(rules));
    checkRepeats('grammar', repeatsOf(rules));
    return grammar.text;
  }
  // First: JSON.stringify overflows on what is nested too deep.
  checkDepth('schema', schemaDepth(grammar.schema));
  checkedLength(JSON.stringify(grammar.schema), 'schema');
  checkRepeats('schema', countsOf(grammar.schema));
  const { LlamaJsonSchemaGrammar } = await import('node-llama-cpp');
  const runtime = await llama();
  try {
    return new LlamaJsonSchemaGrammar(runtime, grammar.schema as never).grammar.replace(SCHEMA_END, '');
  } catch (cause) {
    throw new FleetError('request.invalid', `schema: it cannot be turned into a grammar: ${messageOf(cause)}`, {
      cause,
      hint: 'supported are objects, arrays, strings, numbers, booleans, null, enum, const, oneOf and $defs, and counts below 2000',
    });
  }
}

/** A grammar for one answer of node-llama-cpp. Throws `request.invalid`. */
export async function openGrammar(model: LlamaModel, grammar: Grammar): Promise<LlamaGrammarEvaluationState> {
  const text = await grammarText(grammar, async () => model.llama);
  const { LlamaGrammarEvaluationState: State } = await import('node-llama-cpp');
  try {
    return new State({ model, grammar: await model.llama.createGrammar({ grammar: text }) });
  } catch (cause) {
    throw badGrammar(messageOf(cause));
  }
}

export function badGrammar(reason: string): FleetError {
  return new FleetError('request.invalid', `grammar: llama.cpp cannot read it${reason === '' ? '' : `: ${reason}`}`, {
    hint: 'expected GBNF with a rule named root',
  });
}

function checkedLength(text: string, what: string): string {
  if (text.length <= MOST_CHARACTERS) return text;
  throw new FleetError('request.invalid', `${what}: ${text.length} characters, expected at most ${MOST_CHARACTERS}`);
}

function checkDepth(what: string, depth: number): void {
  if (depth <= MOST_SCHEMA_DEPTH) return;
  throw new FleetError('request.invalid', `${what}: nested deeper than ${MOST_SCHEMA_DEPTH} levels, expected less`);
}

function checkRepeats(what: string, repeats: number): void {
  if (repeats <= MOST_REPEATS) return;
  const hint = 'ask for fewer, or leave the upper bound out';
  const message = `${what}: ${repeats} repetitions in all, expected at most ${MOST_REPEATS}`;
  throw new FleetError('request.invalid', message, { hint });
}

/** The sum of the counts in a schema, each as far as llama.cpp takes it. Only of what is not nested too deep. */
function countsOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return Object.entries(value).reduce<number>((sum, [key, inner]) => {
    if (typeof inner === 'number' && COUNTS.has(key)) return sum + Math.max(0, Math.min(inner, LLAMA_MOST_REPEATS));
    return sum + countsOf(inner);
  }, 0);
}

/** A grammar without its texts, classes of characters and comments: what looks like a bracket in those is none. */
function bareRules(grammar: string): string {
  return grammar.replaceAll(/"(?:\\[^]|[^"\\])*"?|\[(?:\\[^]|[^\]\\])*\]?|#[^\n]*/g, ' ');
}

/** How deep groups lie in one another. */
function nestingOf(rules: string): number {
  let [depth, deepest] = [0, 0];
  for (const [token] of rules.matchAll(/[()]/g)) {
    if (token === '(') deepest = Math.max(deepest, ++depth);
    else depth--;
  }
  return deepest;
}

/** How often `{m}`, `{m,}` and `{m,n}` write something out, in all. */
function repeatsOf(rules: string): number {
  let sum = 0;
  for (const [, least = '', most = ''] of rules.replaceAll(/\s/g, '').matchAll(/\{(\d*)(?:,(\d*))?\}/g)) {
    sum += Math.max(Number(least), Number(most));
  }
  return sum;
}

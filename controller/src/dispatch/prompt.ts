import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import type { ClassId, JobId, RequestId, VariantId } from '@fleetgate/shared/ids';
import type { Grammar } from '@fleetgate/shared/protocol/grammar';
import type { BegunAnswer, ChatMessage, Job, Sampling } from '@fleetgate/shared/protocol/job';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import type { Joules, Milliseconds } from '@fleetgate/shared/units/quantity';

/** How quality is weighed against energy and latency; `select.ts` says by how much. */
export const MODES = ['auto', 'eco', 'fast', 'best'] as const;
export type Mode = (typeof MODES)[number];

/** Ways in which several experts answer one prompt; `collaboration/` says how. */
export const COLLABORATIONS = ['cascade', 'ensemble', 'vote', 'brief'] as const;
export type Collaboration = (typeof COLLABORATIONS)[number];

export type AnswerInput =
  | {
      readonly kind: 'chat';
      readonly messages: readonly ChatMessage[];
      /** What the user asks, where that is not the last message of theirs. */
      readonly question?: string;
    }
  | { readonly kind: 'complete'; readonly prompt: string };

export type PromptInput =
  | AnswerInput
  /** With `detail`, the bits of every token are answered as well. */
  | {
      readonly kind: 'score';
      readonly prompt: string;
      readonly completion: string;
      readonly detail?: boolean;
      readonly slabMask?: SlabMask;
    }
  /** Texts to be given as vectors. */
  | { readonly kind: 'embed'; readonly texts: readonly string[] }
  /** An answer whose tokens are chosen here, from the likeliest `topK` of each step. */
  | { readonly kind: 'mix'; readonly input: AnswerInput; readonly topK: number };

/** What is asked of a model besides an answer: it only reads. */
export function isOnlyRead({ kind }: PromptInput): boolean {
  return kind === 'score' || kind === 'embed';
}

/** One request of a client, read and checked, before anything is decided about it. */
export interface Prompt {
  readonly endpoint: string;
  /** As the client named it. */
  readonly model: string;
  /** What the client asked for besides the model; undefined leaves it to the model's name. */
  readonly mode: Mode | undefined;
  /** As the client asked; absent leaves it to the model's name. */
  readonly collaboration?: Collaboration;
  /** Only these may answer, where the model's name leaves a choice. */
  readonly experts?: readonly string[];
  /** The request that several experts answer, where this is what one of them is asked. */
  readonly callOf?: RequestId;
  /** Who it is asked for, where budgets tell tenants apart. */
  readonly tenant?: string;
  /** The trace that the client's request is part of, as `traceparent` of W3C Trace Context. */
  readonly traceParent?: string;
  readonly input: PromptInput;
  readonly sampling: Sampling;
  readonly limits: PromptLimits;
  /** Asks how sure the model was of its answer. */
  readonly logProbs?: boolean;
  /** Asks how likely each token of the answer was, and for so many likeliest ones in its place. */
  readonly topLogProbs?: number;
  /** The answer has to be within it. */
  readonly grammar?: Grammar;
}

/** What a device's engine has to be able to do for an answer as it was asked for. */
export function neededAbilities({ input, grammar, topLogProbs }: Prompt): readonly EngineAbility[] {
  return [
    ...(input.kind === 'embed' ? (['embeddings'] as const) : []),
    ...(grammar === undefined ? [] : (['grammar'] as const)),
    ...(topLogProbs === undefined ? [] : (['log-probs'] as const)),
  ];
}

/** The most a client wants to spend on one request. */
export interface PromptLimits {
  readonly energy: Joules | undefined;
  readonly latency: Milliseconds | undefined;
  /** Experts asked, each call counted; absent is the fleet's own limit. */
  readonly calls?: number;
}

/** What the gate scores: the last thing the user said, for that is what the answer has to be good at. */
export function gateText(input: PromptInput): string {
  if (input.kind === 'mix') return gateText(input.input);
  if (input.kind === 'embed') return input.texts[0] ?? '';
  if (input.kind !== 'chat') return input.prompt;
  if (input.question !== undefined) return input.question;
  const asked = input.messages.findLast((message) => message.role === 'user' && message.content.trim() !== '');
  return (asked ?? input.messages.at(-1))?.content ?? '';
}

/** Characters that the model has to read. */
export function promptChars(input: PromptInput): number {
  switch (input.kind) {
    case 'chat':
      return input.messages.reduce((chars, message) => chars + message.content.length, 0);
    case 'complete':
      return input.prompt.length;
    case 'score':
      return input.prompt.length + input.completion.length;
    case 'mix':
      return promptChars(input.input);
    case 'embed':
      return input.texts.reduce((chars, text) => chars + text.length, 0);
  }
}

/** The prompt as text, for a ledger that has been told to keep it. */
export function promptText(input: PromptInput): string {
  if (input.kind === 'mix') return promptText(input.input);
  if (input.kind === 'embed') return input.texts.join('\n');
  return input.kind === 'chat'
    ? input.messages.map(({ role, content }) => `${role}: ${content}`).join('\n')
    : input.prompt;
}

export interface JobFacts {
  readonly jobId: JobId;
  readonly variantId: VariantId;
  readonly timeout: Milliseconds;
  /** Undefined where the gate does not know it. */
  readonly classId: ClassId | undefined;
  /** Asks for the answer's tokens, by which another device can go on with it. */
  readonly tokenIds?: boolean;
  /** What another device has said of the answer. */
  readonly begun?: BegunAnswer | undefined;
}

/** The prompt as a job for an agent. */
export function jobOf(prompt: Prompt, { jobId, variantId, timeout, classId, tokenIds, begun }: JobFacts): Job {
  const timeoutMs = Math.max(1, Math.floor(timeout));
  const ofClass = classId === undefined ? {} : { classId };
  const base = { v: PROTOCOL_VERSION, jobId, variantId, timeoutMs, ...ofClass } as const;
  const { input, sampling } = prompt;
  const { logProbs, topLogProbs, grammar } = prompt;
  const wishes = {
    ...(logProbs === true ? { logProbs } : {}),
    ...(topLogProbs === undefined ? {} : { topLogProbs, choicesWithText: true }),
    ...(grammar === undefined ? {} : { grammar }),
    ...(tokenIds === true ? { tokenIds } : {}),
    ...(begun === undefined ? {} : { resume: begun }),
  };
  switch (input.kind) {
    case 'chat':
      return { ...base, kind: 'chat', messages: [...input.messages], sampling, ...wishes };
    case 'complete':
      return { ...base, kind: 'complete', prompt: input.prompt, sampling, ...wishes };
    case 'score': {
      const detail = input.detail === true ? { detail: true } : {};
      const mask = input.slabMask === undefined ? {} : { slabMask: input.slabMask };
      return { ...base, kind: 'score', prompt: input.prompt, completion: input.completion, ...detail, ...mask };
    }
    case 'embed':
      return { ...base, kind: 'embed', texts: [...input.texts] };
    case 'mix': {
      const { maxTokens, stop } = sampling;
      const from =
        input.input.kind === 'chat'
          ? { kind: 'chat' as const, messages: [...input.input.messages] }
          : { kind: 'complete' as const, prompt: input.input.prompt };
      return { ...base, kind: 'mix', input: from, topK: input.topK, maxTokens, stop };
    }
  }
}

/** Characters per token where nothing better is known; right for English within a third or so. */
const CHARS_PER_TOKEN = 3.5;

/**
 * Tokens that the model has to read: the gate counted those of `gateText`, the rest is taken to be as dense.
 * `counted` is undefined while there is no gate.
 */
export function promptTokens(input: PromptInput, counted: number | undefined): number {
  const chars = promptChars(input);
  const scoredChars = gateText(input).length;
  if (counted === undefined || scoredChars === 0) return Math.max(1, Math.ceil(chars / CHARS_PER_TOKEN));
  return Math.max(1, Math.ceil((counted * chars) / scoredChars));
}

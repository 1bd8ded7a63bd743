import type { CallView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import type { PlanId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import { elapsed, type Joules, joules, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Consideration, DispatchedRequest } from '../dispatcher.js';
import type { Prompt, PromptInput } from '../prompt.js';
import type { Choice, RequestEvent } from '../request-events.js';
import type { CollaboratorParts } from './collaborator.js';
import { affordableTokens, type Allowance, leftOf, type Member } from './members.js';

type Done = RequestEvent & { readonly kind: 'done' };
export type Scored = RequestEvent & { readonly kind: 'scored' };

/** What one expert answered. */
export interface Answer {
  readonly text: string;
  readonly done: Done;
}

export type ScoreInput = PromptInput & { readonly kind: 'score' };

export interface Question {
  readonly role: CallView['role'];
  readonly input: PromptInput;
  /** Longest answer, tokens; absent is what the client allowed. */
  readonly maxTokens?: number;
  /** Most that it may use of what is left, for calls that are made at once; absent is all of it. */
  readonly most?: Joules | undefined;
  /** Its text goes to the client as it comes. */
  readonly streamed?: boolean;
  readonly logProbs?: boolean;
}

/**
 * Where the experts of one request are asked: every call is an ordinary request of the dispatcher, so it is tried on
 * another device when one fails, and has a record of its own. Keeps the request's record, what was spent, and the caps.
 */
export class AnswerRoom {
  readonly prompt: Prompt;
  readonly request: Consideration['request'];
  readonly parts: CollaboratorParts;
  /** The plan in force when the request was decided about. */
  readonly planId: PlanId;
  readonly signal: AbortSignal;
  readonly #calls: CallView[] = [];
  #spent = 0;
  #open = 0;
  #isMeasured = true;
  #told = false;

  constructor(
    parts: CollaboratorParts,
    prompt: Prompt,
    request: Consideration['request'],
    planId: PlanId,
    signal: AbortSignal,
  ) {
    this.parts = parts;
    this.prompt = prompt;
    this.request = request;
    this.planId = planId;
    this.signal = signal;
  }

  get calls(): readonly CallView[] {
    return this.#calls;
  }

  /** Whether the client has some of the answer already: then no other expert can take over. */
  get hasTold(): boolean {
    return this.#told;
  }

  /** What may still be spent; what is predicted for calls under way is set aside. */
  allowance(): Allowance {
    const { calls, energy, latency } = this.prompt.limits;
    const gone = elapsed(this.request.receivedAt, this.parts.clock.now());
    return {
      calls: Math.max(0, Math.min(calls ?? this.parts.maxCalls, this.parts.maxCalls) - this.#calls.length),
      energy: leftOf(energy, this.#spent + this.#open),
      latency: latency === undefined ? undefined : milliseconds(Math.max(0, latency - gone)),
    };
  }

  /** Records what the calls that are about to be made are expected to cost: together, and as long as the longest. */
  expect(members: readonly Member[], how: 'at-once' | 'in-turn'): void {
    const energyJ = members.reduce((sum, { energy }) => sum + energy, 0);
    const latencies = members.map(({ latency }): number => latency);
    const latencyMs = how === 'at-once' ? Math.max(...latencies) : latencies.reduce((sum, one) => sum + one, 0);
    this.request.record = { ...this.request.record, predicted: { energyJ, latencyMs } };
  }

  /** Asks a member and waits for its whole answer. Throws its failure; `dispatch.over-budget` where nothing is left. */
  async ask(member: Member, question: Question): Promise<Answer> {
    const call = this.begin(member, question);
    let text = '';
    for await (const event of call.dispatched.events) {
      if (event.kind === 'failed') throw call.failed(event.error);
      if (event.kind === 'chosen' && question.streamed === true) this.request.events.push(event);
      if (event.kind === 'tokens') {
        text += event.text;
        if (question.streamed === true) this.tell(event.text, event.tokens);
      }
      if (event.kind === 'done') {
        call.ended(event);
        return { text, done: event };
      }
    }
    throw new FleetError('internal.invariant', `the call of ${member.expertId} ended without an end`);
  }

  /** Log-likelihood of a given answer under one member. */
  async score(member: Member, role: CallView['role'], input: ScoreInput): Promise<Scored> {
    return scoreOf(this.begin(member, { role, input }));
  }

  /** Text of the answer, on its way to the client. */
  tell(text: string, tokens: number): void {
    if (text === '') return;
    this.#told = true;
    this.request.firstTokenAt ??= this.parts.clock.now();
    this.request.events.push({ kind: 'tokens', text, tokens });
  }

  /** Sends a call within the caps. Its caller reads the events, and says how it ended. */
  begin(member: Member, question: Question): OpenCall {
    const { calls, energy: left, latency } = this.allowance();
    const energy = left === undefined || question.most === undefined ? left : joules(Math.min(left, question.most));
    const maxTokens = this.#tokensWithin(member, question, energy);
    if (calls < 1 || maxTokens < 1) {
      const limit = calls < 1 ? 'calls' : 'joules';
      throw new FleetError('dispatch.over-budget', `nothing is left of the ${limit} that this request may use`, {
        hint: calls < 1 ? 'raise fleetgate.maxCalls' : 'raise fleetgate.energyJ, or lower max_tokens',
        context: { param: calls < 1 ? 'fleetgate.maxCalls' : 'fleetgate.energyJ' },
      });
    }
    const setAside = Math.min(member.energy, energy ?? member.energy);
    this.#open += setAside;
    const stopped = new AbortController();
    const dispatched = this.parts.dispatcher.accept(
      {
        endpoint: this.prompt.endpoint,
        model: member.variantId,
        mode: undefined,
        callOf: this.request.id,
        input: question.input,
        sampling: { ...this.prompt.sampling, maxTokens },
        limits: { energy: undefined, latency },
        ...(this.prompt.traceParent === undefined ? {} : { traceParent: this.prompt.traceParent }),
        ...(question.logProbs === true ? { logProbs: true } : {}),
      },
      AbortSignal.any([this.signal, stopped.signal]),
    );
    const at = this.#calls.length;
    this.#calls.push(callView(member, question, dispatched));
    this.#publish();
    let isOpen = true;
    const close = (outcome: string, meanLogProb?: number): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#open -= setAside;
      const { actual, deviceId } = dispatched.record();
      this.#spent += actual?.energyJ ?? 0;
      if (actual?.energySource === 'modelled') this.#isMeasured = false;
      const { latencyMs = null, energyJ = null } = actual ?? {};
      this.change(at, { outcome, latencyMs, energyJ, deviceId, meanLogProb: meanLogProb ?? null });
    };
    return {
      dispatched,
      at,
      ended: (event) => {
        const meanLogProb = event.kind === 'done' ? event.meanLogProb : undefined;
        if (meanLogProb !== undefined) this.parts.confidence.observe(member.expertId, meanLogProb);
        close('succeeded', meanLogProb);
      },
      failed: (error) => {
        close(error.code);
        return error;
      },
      stop: () => {
        stopped.abort();
        close('cancelled');
      },
    };
  }

  /** Corrects what the record says of a call. */
  change(at: number, what: Partial<CallView>): void {
    const call = this.#calls[at];
    if (call !== undefined) this.#calls[at] = { ...call, ...what };
    this.#publish();
  }

  /** What all calls together have used; tokens are those of the answer that was given. */
  usage(given: JobUsage): JobUsage {
    return { ...given, energyJ: this.#spent, energySource: this.#isMeasured ? 'measured' : 'modelled' };
  }

  #tokensWithin(member: Member, { maxTokens, input }: Question, energy: Joules | undefined): number {
    const { input: asked, sampling } = this.prompt;
    // A given answer has its length; what is asked besides is for the cascade or the background.
    const most = asked.kind === 'score' ? (maxTokens ?? 1) : sampling.maxTokens;
    const wanted = Math.min(maxTokens ?? Infinity, most);
    if (input.kind === 'score') return energy !== undefined && member.energy > energy ? 0 : wanted;
    const { costs } = this.parts;
    const { promptTokens } = this.request;
    const energyOf = (outputTokens: number): Joules | undefined =>
      costs.estimate(member.deviceId, member.variantId, { promptTokens, outputTokens })?.energy;
    return affordableTokens(energyOf, energy, wanted);
  }

  #publish(): void {
    const { record } = this.request;
    if (record.collaboration === undefined) return;
    this.request.record = { ...record, collaboration: { ...record.collaboration, calls: [...this.#calls] } };
  }
}

/** A call under way. One of `ended`, `failed` and `stop` is to be called; later ones change nothing. */
export interface OpenCall {
  readonly dispatched: DispatchedRequest;
  /** Its place among the calls of the record. */
  readonly at: number;
  ended(event: Done | Scored): void;
  failed(error: FleetError): FleetError;
  /** Ends it here and at its device. */
  stop(): void;
}

/** Waits for the score that a call was made for. Throws its failure. */
export async function scoreOf(call: OpenCall): Promise<Scored> {
  for await (const event of call.dispatched.events) {
    if (event.kind === 'failed') throw call.failed(event.error);
    if (event.kind !== 'scored') continue;
    call.ended(event);
    return event;
  }
  throw new FleetError('internal.invariant', `the call ${call.dispatched.id} ended without an end`);
}

/** How several experts have answered. */
export interface JointAnswer {
  readonly choice: Choice;
  /** Predicted quality of what was answered. */
  readonly quality: number;
  readonly finishReason: 'stop' | 'length';
  readonly usage: JobUsage;
  /** One sentence for a person. */
  readonly why: string;
}

/** What several experts make of a given answer. */
export interface JointScore {
  readonly choice: Choice;
  readonly quality: number;
  readonly why: string;
  readonly event: Scored;
}

function callView(member: Member, { role }: Question, dispatched: DispatchedRequest): CallView {
  return {
    requestId: dispatched.id,
    role,
    expertId: member.expertId,
    variantId: member.variantId,
    deviceId: dispatched.record().deviceId,
    quality: Number(member.quality.toPrecision(6)),
    weight: null,
    meanLogProb: null,
    latencyMs: null,
    energyJ: null,
    outcome: 'running',
  };
}

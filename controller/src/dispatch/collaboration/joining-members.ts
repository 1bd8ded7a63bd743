import { type FleetError, isFleetError } from '@fleetgate/shared/errors';
import type { JobOut } from '@fleetgate/shared/protocol/job';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { cancelledError } from '../refusal.js';
import type { Choice, RequestEvent } from '../request-events.js';
import type { AnswerRoom, OpenCall } from './answer-room.js';
import { nobodyError } from './joint-answer.js';
import type { Member } from './members.js';

/** Likeliest tokens that each member tells of a step; the mixture's nucleus is seldom wider. */
const TOP_K = 256;
/** After the first member has read the prompt the others have this long: a busy device must not hold all of them up. */
const JOIN_WAIT = milliseconds(3000);
/** A member that does not answer a step for this long is left out. */
const STEP_WAIT = milliseconds(5000);
/** How long members may take to end and say what they used. */
const SETTLE_WAIT = milliseconds(2000);

/** A member of an ensemble, from its call to its end. */
export interface LiveMember {
  readonly member: Member;
  readonly call: OpenCall;
  /** Its place in the mixture. */
  index: number;
  choice: Choice;
  /** What it thinks of the next token; undefined while it thinks, and after its end. */
  next: (JobOut & { readonly kind: 'next' }) | undefined;
  /** Everything it has made of the tokens so far. */
  text: string;
  done: (RequestEvent & { readonly kind: 'done' }) | undefined;
  failure: FleetError | undefined;
}

function hasAnswered({ next, done, failure }: LiveMember): boolean {
  return next !== undefined || done !== undefined || failure !== undefined;
}

/** Keeps the members of one ensemble in step. */
export class JoiningMembers {
  readonly #room: AnswerRoom;
  readonly #members: LiveMember[] = [];
  readonly #wakers = new Set<() => void>();

  /** Calls every member; those that are beyond the caps of the request are left out. */
  constructor(room: AnswerRoom, members: readonly Member[]) {
    this.#room = room;
    const { input } = room.prompt;
    if (input.kind !== 'chat' && input.kind !== 'complete') return;
    for (const member of members) {
      try {
        const call = room.begin(member, { role: 'member', input: { kind: 'mix', input, topK: TOP_K } });
        this.#add(member, call);
      } catch (error) {
        if (this.#members.length === 0 || !isFleetError(error, 'dispatch.over-budget')) throw error;
        return;
      }
    }
  }

  /** The members that have read the prompt in time. Throws where none has. */
  async join(): Promise<readonly LiveMember[]> {
    const members = this.#members;
    await this.#until(() => members.some(({ next }) => next !== undefined) || members.every(hasAnswered));
    await this.#until(() => members.every(hasAnswered), JOIN_WAIT);
    for (const member of members) if (!hasAnswered(member)) member.call.stop();
    const joined = members.filter(({ next }) => next !== undefined);
    if (joined.length === 0) throw members.find(({ failure }) => failure !== undefined)?.failure ?? nobodyError();
    joined.forEach((member, index) => (member.index = index));
    return joined;
  }

  /** Tells the chosen token of a step to all, and waits for what they think of the next one. */
  async goOn(live: readonly LiveMember[], step: number, token: number): Promise<void> {
    for (const member of live) {
      member.next = undefined;
      member.call.dispatched.proceed(step, token);
    }
    await this.#until(() => live.every(hasAnswered), STEP_WAIT);
    for (const member of live) if (!hasAnswered(member)) member.call.stop();
  }

  /** Whether one more step would be beyond the length of the answer, or, by prediction, the joules it may use. */
  isExhausted(step: number): boolean {
    const { prompt, parts, request } = this.#room;
    if (step >= prompt.sampling.maxTokens) return true;
    if (prompt.limits.energy === undefined) return false;
    const tokens = { promptTokens: request.promptTokens, outputTokens: step + 1 };
    const energy = this.#members.reduce((sum, { member }) => {
      return sum + (parts.costs.estimate(member.deviceId, member.variantId, tokens)?.energy ?? 0);
    }, 0);
    return energy > prompt.limits.energy;
  }

  /** Waits a little for the members that are about to end, and ends the others. */
  async settle(): Promise<void> {
    const ending = this.#members.filter(({ next, failure }) => next === undefined && failure === undefined);
    await this.#until(
      () => ending.every(({ done, failure }) => done !== undefined || failure !== undefined),
      SETTLE_WAIT,
    );
    this.stop();
  }

  /** Ends whatever is still under way. */
  stop(): void {
    for (const { call } of this.#members) call.stop();
  }

  #add(member: Member, call: OpenCall): void {
    const { expertId, variantId, deviceId } = member;
    const choice = { expertId, variantId, deviceId, planId: this.#room.planId };
    const live: LiveMember = {
      member,
      call,
      choice,
      index: this.#members.length,
      next: undefined,
      text: '',
      done: undefined,
      failure: undefined,
    };
    this.#members.push(live);
    void this.#follow(live);
  }

  async #follow(live: LiveMember): Promise<void> {
    for await (const event of live.call.dispatched.events) {
      if (event.kind === 'chosen') live.choice = event.choice;
      if (event.kind === 'tokens') live.text += event.text;
      if (event.kind === 'next') {
        live.text += event.out.text;
        live.next = event.out;
      }
      if (event.kind === 'done') {
        live.call.ended(event);
        live.done = event;
      }
      if (event.kind === 'failed') live.failure = live.call.failed(event.error);
      for (const wake of this.#wakers) wake();
    }
  }

  /** Waits for a condition of the members, at most as long as told, and never longer than the request. */
  async #until(isTrue: () => boolean, atMost?: Milliseconds): Promise<void> {
    const { parts, signal } = this.#room;
    if (isTrue()) return;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        this.#wakers.delete(check);
        cancel();
        signal.removeEventListener('abort', settle);
        resolve();
      };
      const check = (): void => {
        if (isTrue()) settle();
      };
      const cancel = atMost === undefined ? () => {} : parts.clock.after(atMost, settle);
      this.#wakers.add(check);
      signal.addEventListener('abort', settle, { once: true });
      if (signal.aborted) settle();
    });
    if (signal.aborted) throw cancelledError();
  }
}

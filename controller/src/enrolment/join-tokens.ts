import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { type Random, SECRET_CHARACTERS } from '@fleetgate/shared/random';
import { after, type Milliseconds } from '@fleetgate/shared/units/quantity';

import { secretDigest } from '../broker/broker-user.js';
import type { EnrolmentStore, JoinToken } from './enrolment-store.js';
import { isSame } from './constant-time.js';

const ID_CHARACTERS = 12;
const MOST_TOKENS = 1000;

/** What a token that was found good is spent by. */
export type Pass = { readonly kind: 'kept' } | { readonly kind: 'issued'; readonly id: string };

/** A token as a person sees it: without its secret. */
export interface TokenView {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usesLeft: number;
}

export interface JoinTokensParts {
  readonly store: EnrolmentStore;
  /** The one in the data directory, for devices of this machine: it neither runs out nor is used up. */
  readonly kept: string;
  /** SHA-256 of the authority's certificate (base64url) where there is one: who has the token can tell a forged answer. */
  readonly authoritySha256: string | undefined;
  readonly random: Random;
  readonly clock: Clock;
}

/** The tokens by which devices may enrol: the single writer of those that were issued. */
export class JoinTokens {
  readonly #parts: JoinTokensParts;
  readonly #tokens: Map<string, JoinToken>;

  private constructor(parts: JoinTokensParts, tokens: readonly JoinToken[]) {
    this.#parts = parts;
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
  }

  static async open(parts: JoinTokensParts): Promise<JoinTokens> {
    const tokens = new JoinTokens(parts, await parts.store.tokens());
    await tokens.#forgetExpired();
    return tokens;
  }

  /** Takes up what another controller has issued and spent. */
  async reload(): Promise<void> {
    const tokens = await this.#parts.store.tokens();
    this.#tokens.clear();
    for (const token of tokens) this.#tokens.set(token.id, token);
  }

  /**
   * A new token, shown this once: `fgj.<id>.<secret>`, and after another dot the digest of the authority.
   *
   * Throws `request.invalid` when there are a thousand already.
   */
  async create(lifetime: Milliseconds, uses: number): Promise<TokenView & { readonly token: string }> {
    const { random, clock, store, authoritySha256 } = this.#parts;
    await this.#forgetExpired();
    if (this.#tokens.size >= MOST_TOKENS) {
      throw new FleetError('request.invalid', `there are ${this.#tokens.size} join tokens, expected fewer`, {
        hint: 'remove some, or wait until they have run out',
      });
    }
    const [id, secret] = [random.token(ID_CHARACTERS), random.token(SECRET_CHARACTERS)];
    const now = clock.now();
    const token: JoinToken = {
      id,
      secretSha256: secretDigest(secret),
      createdAt: now,
      expiresAt: after(now, lifetime),
      usesLeft: uses,
    };
    this.#tokens.set(id, token);
    await store.putToken(token);
    const pin = authoritySha256 === undefined ? [] : [authoritySha256];
    return { ...viewOf(token), token: ['fgj', id, secret, ...pin].join('.') };
  }

  list(): readonly TokenView[] {
    const now = this.#parts.clock.now();
    return [...this.#tokens.values()].filter(({ expiresAt }) => expiresAt > now).map(viewOf);
  }

  /** False when there is none of that id. */
  async remove(id: string): Promise<boolean> {
    if (!this.#tokens.delete(id)) return false;
    await this.#parts.store.removeToken(id);
    return true;
  }

  /** What `text` is good for now, or why it is not. Says of an unknown token no more than of a wrong one. */
  check(text: string): Pass | 'wrong' | 'expired' | 'used-up' {
    const [mark, id = '', secret = ''] = text.split('.');
    const token = mark === 'fgj' ? this.#tokens.get(id) : undefined;
    if (mark !== 'fgj') return isSame(text, this.#parts.kept) ? { kind: 'kept' } : 'wrong';
    const same = isSame(secretDigest(secret), token?.secretSha256 ?? secretDigest(''));
    if (token === undefined || !same) return 'wrong';
    if (token.expiresAt <= this.#parts.clock.now()) return 'expired';
    return token.usesLeft > 0 ? { kind: 'issued', id } : 'used-up';
  }

  /**
   * Takes one use, at once here: of two that come with the last one the first has it. Durable when it resolves. False
   * when nothing was left.
   */
  spend(pass: Pass): Promise<boolean> {
    return this.#change(pass, -1);
  }

  /** Gives back the use of a device that was not enrolled after all. */
  async giveBack(pass: Pass): Promise<void> {
    await this.#change(pass, 1);
  }

  async #change(pass: Pass, by: number): Promise<boolean> {
    if (pass.kind === 'kept') return true;
    const token = this.#tokens.get(pass.id);
    if (token === undefined || token.usesLeft + by < 0) return false;
    const changed = { ...token, usesLeft: token.usesLeft + by };
    this.#tokens.set(pass.id, changed);
    await this.#parts.store.putToken(changed);
    return true;
  }

  async #forgetExpired(): Promise<void> {
    const now = this.#parts.clock.now();
    for (const { id, expiresAt } of this.#tokens.values()) if (expiresAt <= now) await this.remove(id);
  }
}

function viewOf({ id, createdAt, expiresAt, usesLeft }: JoinToken): TokenView {
  return { id, createdAtMs: createdAt, expiresAtMs: expiresAt, usesLeft };
}

import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** A join token that lets in `usesLeft` devices until `expiresAt`. The token itself is never kept, only its digest. */
export interface JoinToken {
  readonly id: string;
  readonly secretSha256: string;
  readonly createdAt: UnixMs;
  readonly expiresAt: UnixMs;
  readonly usesLeft: number;
}

/** A device that waits for a person to let it in. */
export interface Waiting {
  readonly name: string;
  readonly board: string;
  /** Of the nonce and the key that it came with: who asks again has to have the same. */
  readonly nonceSha256: string;
  readonly keySha256: string | undefined;
  readonly address: string;
  readonly askedAt: UnixMs;
  readonly verdict: 'none' | 'approved' | 'denied';
}

/** Where join tokens and waiting devices rest. Written by `JoinTokens` and `Approvals` alone. */
export interface EnrolmentStore {
  tokens(): Promise<readonly JoinToken[]>;
  putToken(token: JoinToken): Promise<void>;
  removeToken(id: string): Promise<void>;
  waiting(): Promise<readonly Waiting[]>;
  putWaiting(waiting: Waiting): Promise<void>;
  removeWaiting(name: string): Promise<void>;
}

/** Keeps both in memory: for tests. Passes the same contract suite as the SQLite store. */
export class MemoryEnrolmentStore implements EnrolmentStore {
  readonly #tokens = new Map<string, JoinToken>();
  readonly #waiting = new Map<string, Waiting>();

  tokens = (): Promise<readonly JoinToken[]> => Promise.resolve([...this.#tokens.values()]);
  waiting = (): Promise<readonly Waiting[]> => Promise.resolve([...this.#waiting.values()]);

  putToken(token: JoinToken): Promise<void> {
    this.#tokens.set(token.id, token);
    return Promise.resolve();
  }

  removeToken(id: string): Promise<void> {
    this.#tokens.delete(id);
    return Promise.resolve();
  }

  putWaiting(waiting: Waiting): Promise<void> {
    this.#waiting.set(waiting.name, waiting);
    return Promise.resolve();
  }

  removeWaiting(name: string): Promise<void> {
    this.#waiting.delete(name);
    return Promise.resolve();
  }
}

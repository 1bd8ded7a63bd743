import { FleetError } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { Applicant, Approvals } from './approvals.js';
import type { JoinTokens, Pass } from './join-tokens.js';

export interface AdmissionParts {
  readonly tokens: JoinTokens;
  readonly approvals: Approvals;
  /** `person`: a device with a good token waits until somebody lets it in. */
  readonly rule: 'token' | 'person';
  readonly log: Logger;
}

/** A device at the door. One without a nonce cannot be known again. */
export type Caller = Omit<Applicant, 'nonceSha256'> & { readonly nonceSha256: string | undefined };

/** Who may enrol: has a good token, and a person's word where that is asked for. */
export class Admission {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Has shown a good token before, and waits or was let in since. */
  hasWaited({ name, board, nonceSha256 }: Pick<Caller, 'name' | 'board' | 'nonceSha256'>): boolean {
    return nonceSha256 !== undefined && this.#parts.approvals.knows(name, board, nonceSha256);
  }

  /** What a token is good for. Throws `enrol.bad-token`. */
  passOf(token: string): Pass {
    const pass = this.#parts.tokens.check(token);
    if (typeof pass === 'string') throw badToken(pass);
    return pass;
  }

  /**
   * Takes a use of the token, once for a device, and says whether it may enter or has to wait for a person. `pass` is
   * undefined for one that has waited. Throws `enrol.bad-token` (used up meanwhile), `enrol.denied`, `enrol.name-taken`
   * or `request.invalid`.
   */
  async enter(caller: Caller, pass: Pass | undefined): Promise<'enters' | 'waits'> {
    const { rule, approvals } = this.#parts;
    const { nonceSha256 } = caller;
    if (nonceSha256 === undefined) {
      if (rule === 'person') throw nonceMissing();
      await this.#spend(pass);
      return 'enters';
    }
    const applicant = { ...caller, nonceSha256 };
    const known = approvals.find(applicant);
    if (known?.verdict === 'denied') throw denied(caller.name);
    if (known !== undefined) return known.verdict === 'approved' || rule === 'token' ? 'enters' : 'waits';
    if (pass === undefined) throw otherKey(caller.name);
    await this.#spend(pass);
    if (rule === 'token') return 'enters';
    try {
      await approvals.add(applicant);
    } catch (error) {
      await this.giveBack(pass);
      throw error;
    }
    this.#parts.log.info('enrol.waiting', { deviceId: caller.name, board: caller.board, address: caller.address });
    return 'waits';
  }

  /** The device did not enrol after all. */
  async giveBack(pass: Pass | undefined): Promise<void> {
    if (pass !== undefined) await this.#parts.tokens.giveBack(pass);
  }

  /** The device is in. */
  entered(name: string): Promise<void> {
    return this.#parts.approvals.forget(name);
  }

  async #spend(pass: Pass | undefined): Promise<void> {
    if (pass === undefined || !(await this.#parts.tokens.spend(pass))) throw badToken('used-up');
  }
}

function nonceMissing(): FleetError {
  return new FleetError('request.invalid', 'enrolment: nonce: expected one, since devices wait for approval here', {
    hint: 'send the same nonce with every try: it tells who has asked before',
  });
}

function otherKey(name: string): FleetError {
  return new FleetError('enrol.name-taken', `the device that waits under the name ${name} has come with another key`, {
    hint: 'one that waits asks again with the key that it came with; was its data directory damaged?',
  });
}

function denied(name: string): FleetError {
  return new FleetError('enrol.denied', `a person has refused the device ${name}`, {
    hint: 'ask whoever runs the fleet',
  });
}

function badToken(why: 'wrong' | 'expired' | 'used-up'): FleetError {
  const said = { wrong: 'is wrong', expired: 'has run out', 'used-up': 'was used by as many devices as it is for' };
  return new FleetError('enrol.bad-token', `the join token ${said[why]}`, {
    hint: 'make one by `fleetgate devices join-token`, or take that of the file join-token in the data directory of the controller',
  });
}

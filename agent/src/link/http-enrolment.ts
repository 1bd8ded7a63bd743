import { z } from 'zod';

import type { EnrolRequest } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { type HttpRequest, openHttp, readText, reasonOf } from '@fleetgate/shared/http-request';
import { type BoardId, deviceIdSchema, fleetIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from './backoff.js';
import { brokerUrl, type Identity } from './identity.js';

const DEADLINE_MS = 10_000;
const FIRST_RETRY = milliseconds(500);
const LONGEST_RETRY = milliseconds(30_000);

const answerSchema = z.object({
  fleet: fleetIdSchema,
  deviceId: deviceIdSchema,
  mqttUrl: z.url(),
  secret: z.string().min(1).max(1000),
});
const errorBodySchema = z.object({ error: z.object({ message: z.string(), code: z.string().nullable() }) });

export interface Enrolment {
  readonly controllerUrl: string;
  readonly token: string;
  readonly name: string;
  readonly board: BoardId;
  /** The same for every try of one enrolment, so that a lost answer does not leave the name taken. */
  readonly nonce: string;
}

/**
 * Makes this device a member of the fleet and gives its identity, once: the secret is never shown again.
 *
 * An unreachable or overloaded controller is tried again with backoff until `signal` aborts. Throws `enrol.bad-token`,
 * `enrol.name-taken`, `usage.invalid` (refused for another reason) or `controller.unreachable` (aborted).
 */
export async function enrol(
  enrolment: Enrolment,
  { clock, random, log, signal }: { clock: Clock; random: Random; log: Logger; signal: AbortSignal },
): Promise<Identity> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await enrolOnce(enrolment, signal);
    } catch (error) {
      if (!isFleetError(error) || !error.retryable || signal.aborted) throw error;
      const wait = backoff(attempt, FIRST_RETRY, LONGEST_RETRY, random);
      log.warn('enrol.waiting', { controller: enrolment.controllerUrl, reason: error.message, retryMs: wait });
      await new Promise<void>((resolve) => {
        const cancel = clock.after(wait, resolve);
        signal.addEventListener('abort', () => (cancel(), resolve()), { once: true });
      });
    }
  }
}

async function enrolOnce(enrolment: Enrolment, signal: AbortSignal): Promise<Identity> {
  const { controllerUrl, token, name, board, nonce } = enrolment;
  const url = new URL('/api/v1/enrol', controllerUrl);
  const { status, body } = await ask(url, signal, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, name, board, nonce } satisfies EnrolRequest),
  });
  if (status === 200 || status === 201) {
    const answer = check(answerSchema, body, 'controller.unreachable', `answer of ${url.href}`);
    return { schema: 'fleetgate-identity/1', board, ...answer, mqttUrl: brokerUrl(answer.mqttUrl, controllerUrl) };
  }
  throw refusal(status, body, url, name);
}

function refusal(status: number, body: unknown, url: URL, name: string): FleetError {
  const parsed = errorBodySchema.safeParse(body);
  const said = parsed.success ? parsed.data.error.message : `HTTP ${status}`;
  const code = parsed.success ? parsed.data.error.code : null;
  if (status === 401 || status === 403 || code === 'enrol.bad-token') {
    return new FleetError('enrol.bad-token', `the controller at ${url.origin} refused the join token: ${said}`, {
      hint: 'give the token that the controller printed, with --token or FLEETGATE_JOIN_TOKEN',
    });
  }
  if (status === 409 || code === 'enrol.name-taken') {
    return new FleetError('enrol.name-taken', `the name "${name}" is taken in the fleet of ${url.origin}: ${said}`, {
      hint: 'choose another --name, or remove the old device first; its own data directory (--data) keeps its identity',
    });
  }
  if (status === 429 || status >= 500) {
    return new FleetError('controller.unreachable', `${url.href} answered ${status}: ${said}`, { retryable: true });
  }
  return new FleetError('usage.invalid', `${url.href} answered ${status}: ${said}`, {
    hint: 'is --controller the address of a Fleetgate controller of this version?',
  });
}

/**
 * Where the fleet's broker listens now: it may have moved since enrolment (a controller on another port). Undefined
 * when the controller does not say; the caller then uses what it knows.
 */
export async function lookUpBroker(
  controllerUrl: string,
  identity: Identity,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const url = new URL('/api/v1/status', controllerUrl);
    const headers = { authorization: `Bearer ${identity.deviceId}:${identity.secret}` };
    const { status, body } = await ask(url, signal, { headers });
    const parsed = z.object({ fleet: z.literal(identity.fleet), mqttUrl: z.url() }).safeParse(body);
    return status === 200 && parsed.success ? brokerUrl(parsed.data.mqttUrl, controllerUrl) : undefined;
  } catch {
    return undefined;
  }
}

async function ask(url: URL, signal: AbortSignal, what: HttpRequest): Promise<{ status: number; body: unknown }> {
  try {
    const response = await openHttp(url, AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]), what);
    return { status: response.statusCode ?? 0, body: parseJson(await readText(response)) };
  } catch (cause) {
    throw new FleetError('controller.unreachable', `no answer from ${url.origin}: ${reasonOf(cause)}`, {
      hint: 'is the controller running, and is --controller its address?',
      retryable: true,
      cause,
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

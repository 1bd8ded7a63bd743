import { z } from 'zod';

import type { EnrolRequest, RenewRequest } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { type HttpRequest, openHttp, readText, reasonOf } from '@fleetgate/shared/http-request';
import { type BoardId, deviceIdSchema, fleetIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { CLOCK_TOLERANCE } from '@fleetgate/shared/protocol/enrolment';
import type { Random } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from '@fleetgate/shared/backoff';
import {
  acceptCertificate,
  type DeviceCertificate,
  deviceTlsSchema,
  foreignAuthority,
  keyDigest,
  makeKey,
  pinOf,
  proofFor,
  requestFor,
} from './device-certificate.js';
import { brokerUrl, type Identity } from './identity.js';

const DEADLINE_MS = 10_000;
const FIRST_RETRY = milliseconds(500);
const LONGEST_RETRY = milliseconds(30_000);

const answerSchema = z.object({
  fleet: fleetIdSchema,
  deviceId: deviceIdSchema,
  mqttUrl: z.url(),
  secret: z.string().min(1).max(1000),
  tls: deviceTlsSchema.optional(),
});
const waitingSchema = z.object({ state: z.literal('waiting'), retryAfterMs: z.number().min(100).max(600_000) });
const renewalSchema = z.object({
  fleet: fleetIdSchema,
  deviceId: deviceIdSchema,
  mqttUrl: z.url(),
  tls: deviceTlsSchema,
});
const errorBodySchema = z.object({ error: z.object({ message: z.string(), code: z.string().nullable() }) });

export interface Enrolment {
  readonly controllerUrl: string;
  readonly token: string;
  readonly name: string;
  readonly board: BoardId;
  /** The same for every try of one enrolment, so that a lost answer does not leave the name taken. */
  readonly nonce: string;
  /** The device's own, of which the public half is certified. */
  readonly keyPem: string;
}

/** A member of the fleet, with a certificate where the fleet has those. */
export interface Enrolled {
  readonly identity: Identity;
  readonly certificate: DeviceCertificate | undefined;
}

interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Makes this device a member of the fleet and gives its identity, once: the secret is never shown again.
 *
 * An unreachable or overloaded controller is tried again with backoff until `signal` aborts, one where a person has to
 * approve is asked until that has happened. Throws `enrol.bad-token`, `enrol.name-taken`, `enrol.denied`,
 * `enrol.clock-off`, `enrol.foreign-authority`, `usage.invalid` (refused for another reason) or
 * `controller.unreachable` (aborted).
 */
export async function enrol(enrolment: Enrolment, around: Surroundings): Promise<Enrolled> {
  const { random, log, signal } = around;
  let waiting = false;
  for (let attempt = 0; ; attempt++) {
    try {
      await checkClock(enrolment.controllerUrl, around);
      const outcome = await enrolOnce(enrolment, signal);
      if (!('state' in outcome)) return outcome;
      if (!waiting) log.warn('enrol.waiting-for-approval', { keySha256: keyDigest(enrolment.keyPem) });
      waiting = true;
      await pause(milliseconds(outcome.retryAfterMs), around);
      if (signal.aborted) throw unreachable(enrolment.controllerUrl, 'aborted while waiting for approval');
    } catch (error) {
      if (!isFleetError(error) || !error.retryable || signal.aborted) throw error;
      const wait = backoff(attempt, FIRST_RETRY, LONGEST_RETRY, random);
      log.warn('enrol.waiting', { controller: enrolment.controllerUrl, reason: error.message, retryMs: wait });
      await pause(wait, around);
    }
  }
}

function pause(wait: Milliseconds, { clock, signal }: Surroundings): Promise<void> {
  return new Promise<void>((resolve) => {
    const cancel = clock.after(wait, resolve);
    signal.addEventListener('abort', () => (cancel(), resolve()), { once: true });
  });
}

/** Before the join token is spent: with a clock far off every certificate would look early or late. */
async function checkClock(controllerUrl: string, { clock, signal }: Surroundings): Promise<void> {
  const { date } = await ask(new URL('/healthz', controllerUrl), signal, {});
  const [theirs, ours] = [Date.parse(date ?? ''), clock.now()];
  if (Number.isNaN(theirs) || Math.abs(theirs - ours) <= CLOCK_TOLERANCE) return;
  const [here, there] = [ours, theirs].map((time) => new Date(time).toISOString());
  throw new FleetError('enrol.clock-off', `it is ${here} on this device and ${there} on the controller`, {
    hint: `set the clock (NTP): they may differ by ${CLOCK_TOLERANCE / 60_000} minutes; then start the agent again`,
  });
}

async function enrolOnce(enrolment: Enrolment, signal: AbortSignal): Promise<Enrolled | z.infer<typeof waitingSchema>> {
  const { controllerUrl, token, name, board, nonce, keyPem } = enrolment;
  const url = new URL('/api/v1/enrol', controllerUrl);
  const { status, body } = await post(url, signal, {
    ...{ token, name, board, nonce },
    csr: requestFor(name, keyPem),
  } satisfies EnrolRequest);
  if (status === 202) return check(waitingSchema, body, 'controller.unreachable', `answer of ${url.href}`);
  if (status !== 200 && status !== 201) throw refusal(status, body, url, name);
  const { tls, ...answer } = check(answerSchema, body, 'controller.unreachable', `answer of ${url.href}`);
  const pin = pinOf(token);
  if (tls === undefined && pin !== undefined) throw foreignAuthority('there is none, and the join token names one');
  const mqttUrl = brokerUrl(answer.mqttUrl, controllerUrl);
  return {
    identity: { schema: 'fleetgate-identity/1', board, ...answer, mqttUrl },
    certificate: tls === undefined ? undefined : acceptCertificate(tls, keyPem, pin),
  };
}

/**
 * A certificate for a new key, by proof of the present one or, for a device that has none, by its secret; with the
 * broker that takes it. Undefined when the controller has no certificates to give.
 *
 * Throws `enrol.certificate-refused`, `enrol.foreign-authority` or `controller.unreachable` (retryable).
 */
export async function renewCertificate(
  controllerUrl: string,
  { deviceId, secret }: Identity,
  present: DeviceCertificate | undefined,
  signal: AbortSignal,
): Promise<{ readonly certificate: DeviceCertificate; readonly mqttUrl: string } | undefined> {
  const keyPem = makeKey();
  const csr = requestFor(deviceId, keyPem);
  const proof = present === undefined ? {} : { proof: proofFor(deviceId, present, csr) };
  const url = new URL('/api/v1/enrol/renew', controllerUrl);
  const headers = present === undefined ? { authorization: `Bearer ${deviceId}:${secret}` } : {};
  const { status, body } = await post(url, signal, { deviceId, csr, ...proof } satisfies RenewRequest, headers);
  if (status === 404) return undefined;
  if (status !== 200) {
    if (status === 429 || status >= 500) throw unreachable(url.href, `it answered ${status}: ${saidBy(body, status)}`);
    throw new FleetError('enrol.certificate-refused', `${url.href} answered ${status}: ${saidBy(body, status)}`, {
      hint: 'was the device revoked? remove it, delete its data directory and enrol it again with a join token',
    });
  }
  const answer = check(renewalSchema, body, 'controller.unreachable', `answer of ${url.href}`);
  if (present !== undefined && answer.tls.authority !== present.authority) throw foreignAuthority('it has changed');
  return {
    certificate: acceptCertificate(answer.tls, keyPem, undefined),
    mqttUrl: brokerUrl(answer.mqttUrl, controllerUrl),
  };
}

function saidBy(body: unknown, status: number): string {
  const parsed = errorBodySchema.safeParse(body);
  return parsed.success ? parsed.data.error.message : `HTTP ${status}`;
}

function refusal(status: number, body: unknown, url: URL, name: string): FleetError {
  const parsed = errorBodySchema.safeParse(body);
  const said = saidBy(body, status);
  const code = parsed.success ? parsed.data.error.code : null;
  if (code === 'enrol.denied') {
    return new FleetError('enrol.denied', `the fleet of ${url.origin} has refused this device: ${said}`, {
      hint: 'ask whoever runs the fleet',
    });
  }
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
  by: 'certificate' | 'secret',
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const url = new URL('/api/v1/status', controllerUrl);
    const headers = { authorization: `Bearer ${identity.deviceId}:${identity.secret}` };
    const { status, body } = await ask(url, signal, { headers });
    const schema = z.object({ fleet: z.literal(identity.fleet), mqttUrl: z.url(), mqttTlsUrl: z.url().optional() });
    const parsed = schema.safeParse(body);
    if (status !== 200 || !parsed.success) return undefined;
    const { mqttUrl, mqttTlsUrl } = parsed.data;
    return brokerUrl((by === 'certificate' ? mqttTlsUrl : undefined) ?? mqttUrl, controllerUrl);
  } catch {
    return undefined;
  }
}

function post(
  url: URL,
  signal: AbortSignal,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return ask(url, signal, {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly date: string | undefined;
}

async function ask(url: URL, signal: AbortSignal, what: HttpRequest): Promise<Answer> {
  try {
    const response = await openHttp(url, AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]), what);
    const { statusCode: status = 0, headers } = response;
    return { status, body: parseJson(await readText(response)), date: headers.date };
  } catch (cause) {
    throw unreachable(url.origin, reasonOf(cause), cause);
  }
}

function unreachable(where: string, why: string, cause?: unknown): FleetError {
  return new FleetError('controller.unreachable', `no answer from ${where}: ${why}`, {
    hint: 'is the controller running, and is --controller its address?',
    retryable: true,
    cause,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

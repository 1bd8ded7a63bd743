import { createHash, timingSafeEqual } from 'node:crypto';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { check } from '@fleetgate/shared/check';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type BoardId, boardIdSchema, type DeviceId, deviceIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { type BrokerUser, secretDigest } from '../broker/broker-user.js';
import { mosquittoDigest } from '../broker/mosquitto-config.js';
import type { Fleet } from '../fleet/fleet.js';
import type { Credentials } from '../fleet/fleet-store.js';
import { AttemptLimit } from './attempt-limit.js';

/** 43 characters of 64 are 258 bits: as good as 32 random bytes. */
const SECRET_CHARACTERS = 43;
/** A typing person needs a few tries; a guesser of 258 bits gets nowhere with them. */
const MOST_FAILURES = 10;
const FAILURE_PERIOD = milliseconds(60_000);
/** 16 characters of 64 are 12 bytes. */
const SALT_CHARACTERS = 16;

const requestSchema: z.ZodType<{ token: string; name: DeviceId; board: BoardId; nonce?: string | undefined }> =
  z.object({
    token: z.string().min(1).max(1000),
    name: deviceIdSchema,
    board: boardIdSchema,
    nonce: z.string().min(16).max(200).optional(),
  });

export interface EnrolmentParts {
  readonly fleet: Fleet;
  readonly boards: ReadonlyMap<BoardId, BoardProfile>;
  readonly joinToken: string;
  /** The controller's own MQTT user; no device may take its name. */
  readonly controller: { readonly username: string; readonly password: string };
  /** Puts users in force at the broker; who is no longer among them is cut off. */
  readonly setUsers: (users: readonly BrokerUser[]) => Promise<void>;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Lets devices into the fleet and out of it, and knows their secrets by digest. */
export class Enrolment {
  readonly #parts: EnrolmentParts;
  readonly #failures = new AttemptLimit(MOST_FAILURES, FAILURE_PERIOD);
  readonly #controller: BrokerUser;

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
    const { username, password } = parts.controller;
    this.#controller = { username, ...this.#digestsOf(password), role: 'controller' };
  }

  /**
   * Adds the device that asks and gives its secret: the only time it is shown. One that asks again with the same nonce
   * has not heard the answer: until it has first connected it gets a new secret, and the old one is dead.
   *
   * Throws `request.invalid`, `enrol.too-many-attempts`, `enrol.bad-token`, `board.unknown` or `enrol.name-taken`.
   */
  async enrol(request: unknown, address: string): Promise<{ readonly deviceId: DeviceId; readonly secret: string }> {
    const { boards, clock, random, log } = this.#parts;
    const now = clock.now();
    if (!this.#failures.mayTry(address, now)) {
      throw new FleetError('enrol.too-many-attempts', `too many wrong join tokens from ${address}`, {
        hint: `wait ${FAILURE_PERIOD / 1000} s; the token is in the controller's data directory, file join-token`,
        context: { retryAfterMs: FAILURE_PERIOD },
        retryable: true,
      });
    }
    const { token, name, board, nonce } = check(requestSchema, request, 'request.invalid', 'enrolment', {
      hint: 'send {"token": ..., "name": ..., "board": ..., "nonce": ...} as JSON',
    });
    if (!isSame(token, this.#parts.joinToken)) {
      this.#failures.failed(address, now);
      log.warn('enrol.bad-token', { address, name });
      throw new FleetError('enrol.bad-token', 'the join token is wrong', {
        hint: "the token is in the controller's data directory, file join-token",
      });
    }
    if (!boards.has(board)) {
      throw new FleetError(
        'board.unknown',
        `board ${board} is not known, expected one of ${[...boards.keys()].join(', ')}`,
        {
          hint: 'see `fleetgate agent --help`; firmware-configs/README.md says how to add a board',
        },
      );
    }
    if (name === this.#controller.username) {
      throw new FleetError('enrol.name-taken', `${name} is the name of the controller itself`, {
        hint: 'choose another name',
      });
    }
    const secret = random.token(SECRET_CHARACTERS);
    const digests = this.#digestsOf(secret);
    await this.#admit(name, board, nonce === undefined ? digests : { ...digests, nonceSha256: secretDigest(nonce) });
    await this.pushUsers();
    log.info('device.enrolled', { deviceId: name, board });
    return { deviceId: name, secret };
  }

  /** Throws `device.unknown`. The device is cut off at once, and its name is free. */
  async remove(deviceId: DeviceId): Promise<void> {
    if (!(await this.#parts.fleet.remove(deviceId))) {
      throw new FleetError('device.unknown', `there is no device named ${deviceId}`, {
        hint: '`fleetgate devices` lists all',
      });
    }
    await this.pushUsers();
    this.#parts.log.info('device.removed', { deviceId });
  }

  /** Whether `secret` is that of an enrolled device. Takes the same time for a wrong one as for an unknown device. */
  isDevice(deviceId: string, secret: string): boolean {
    const id = deviceIdSchema.safeParse(deviceId);
    const known = id.success ? this.#parts.fleet.credentials(id.data)?.secretSha256 : undefined;
    const same = isSame(secretDigest(secret), known ?? secretDigest(''));
    return same && known !== undefined;
  }

  users(): readonly BrokerUser[] {
    const { fleet } = this.#parts;
    const devices = [...fleet.view.keys()].flatMap((id): readonly BrokerUser[] => {
      const credentials = fleet.credentials(id);
      if (credentials === undefined) return [];
      const { nonceSha256: _, ...digests } = credentials;
      return [{ username: id, ...digests, role: 'device' }];
    });
    return [this.#controller, ...devices];
  }

  #digestsOf(secret: string): Pick<BrokerUser, 'secretSha256' | 'mosquittoDigest'> {
    const salt = Buffer.from(this.#parts.random.token(SALT_CHARACTERS), 'base64url');
    return { secretSha256: secretDigest(secret), mosquittoDigest: mosquittoDigest(secret, salt) };
  }

  async #admit(name: DeviceId, board: BoardId, credentials: Credentials): Promise<void> {
    const { fleet, log } = this.#parts;
    try {
      await fleet.enrol(name, board, credentials);
    } catch (error) {
      if (!this.#isAskedAgain(name, board, credentials)) throw error;
      log.info('enrol.repeated', { deviceId: name });
      await fleet.setCredentials(name, credentials);
    }
  }

  /** A device that has connected has its secret: whoever comes with its nonce then is somebody else. */
  #isAskedAgain(name: DeviceId, board: BoardId, { nonceSha256 }: Credentials): boolean {
    const device = this.#parts.fleet.view.get(name);
    const known = this.#parts.fleet.credentials(name)?.nonceSha256;
    if (device?.presence !== 'never-seen' || device.board !== board) return false;
    return nonceSha256 !== undefined && known !== undefined && isSame(nonceSha256, known);
  }

  /** Puts today's users in force. A broker that is down gets them at its next start. */
  async pushUsers(): Promise<void> {
    try {
      await this.#parts.setUsers(this.users());
    } catch (error) {
      this.#parts.log.warn('enrol.users-delayed', { reason: messageOf(error) });
    }
  }
}

/** Answer to a device: where the broker is, by the name under which the device reached the controller. */
export function mqttUrlFor(hostHeader: string | undefined, mqttUrl: string): string {
  const url = new URL(mqttUrl);
  const reached = hostHeader === undefined ? undefined : `http://${hostHeader}`;
  if (reached !== undefined && URL.canParse(reached)) url.hostname = new URL(reached).hostname;
  return url.href.replace(/\/$/, '');
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { CredentialsView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type BoardId, type DeviceId, deviceIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { type Random, SECRET_CHARACTERS } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { type BrokerUser, secretDigest, type UserCertificate } from '../broker/broker-user.js';
import { mosquittoDigest } from '../broker/mosquitto-config.js';
import type { Fleet } from '../fleet/fleet.js';
import { type Credentials, nameTaken } from '../fleet/fleet-store.js';
import type { IssuedCertificate } from '../identity/certificate.js';
import type { Certification } from '../identity/certification.js';
import type { Admission } from './admission.js';
import { AttemptLimit } from './attempt-limit.js';
import { isSame } from './constant-time.js';
import { readEnrolment, readRenewal } from './enrol-request.js';
import { gathered } from './gathered.js';
import type { Pass } from './join-tokens.js';

/** A typing person needs a few tries; a guesser of 258 bits gets nowhere with them. */
const MOST_FAILURES = 10;
const FAILURE_PERIOD = milliseconds(60_000);
/** 16 characters of 64 are 12 bytes. */
const SALT_CHARACTERS = 16;
/** In place of the digest of a secret: no secret has it. */
const REVOKED = 'revoked';

export interface Renewed {
  readonly deviceId: DeviceId;
  readonly certificate: IssuedCertificate;
}

/** A device that is in, or one that waits for a person and asks again. */
export type EnrolOutcome =
  | {
      readonly kind: 'enrolled';
      readonly deviceId: DeviceId;
      readonly secret: string;
      /** Of the device's own key, where it asked for one and this fleet has an authority. */
      readonly certificate: IssuedCertificate | undefined;
    }
  | { readonly kind: 'waiting'; readonly deviceId: DeviceId };

export interface EnrolmentParts {
  readonly fleet: Fleet;
  readonly boards: ReadonlyMap<BoardId, BoardProfile>;
  readonly admission: Admission;
  readonly certification: Certification | undefined;
  /** The controller's own MQTT user; no device may take its name. */
  readonly controller: {
    readonly username: string;
    readonly password: string;
    readonly certificates: readonly UserCertificate[];
  };
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
  /** Puts today's users in force. A broker that is down gets them at its next start. */
  readonly pushUsers = gathered(() => this.#setUsers());

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
    const { username, password, certificates } = parts.controller;
    this.#controller = { username, ...this.#digestsOf(password), role: 'controller', certificates };
  }

  /**
   * Adds the device that asks and gives its secret: the only time it is shown. One that asks again with the same nonce
   * has not heard the answer: until it has first connected it gets a new secret, and the old one is dead.
   *
   * Throws `request.invalid`, `enrol.too-many-attempts`, `enrol.bad-token`, `board.unknown`, `enrol.name-taken`,
   * `enrol.denied`, `enrol.bad-request` or `enrol.key-reused`.
   */
  async enrol(request: unknown, address: string): Promise<EnrolOutcome> {
    const { admission, certification, log } = this.#parts;
    this.#mayTry(address);
    const { token, name, board, nonce, csr } = readEnrolment(request);
    const nonceSha256 = nonce === undefined ? undefined : secretDigest(nonce);
    const isRepeated = this.#isAskedAgain(name, board, nonceSha256);
    // Who has the nonce has shown a good token before, which may be used up by it.
    const isKnown = isRepeated || admission.hasWaited({ name, board, nonceSha256 });
    const pass = isKnown ? undefined : this.#passOf(token, name, address);
    this.#checkPlace(name, board, isRepeated);
    const key = csr === undefined ? undefined : await certification?.read(name, csr);
    // The nonce has crossed the network; the key has not.
    if (isRepeated && certification?.has(name) === true && !certification.isOf(name, key)) throw nameTaken(name);
    const caller = { name, board, nonceSha256, keySha256: key?.keySha256, address };
    if (!isRepeated && (await admission.enter(caller, pass)) === 'waits') return { kind: 'waiting', deviceId: name };
    const secret = this.#parts.random.token(SECRET_CHARACTERS);
    const digests = this.#digestsOf(secret);
    try {
      await this.#admit(name, board, nonceSha256 === undefined ? digests : { ...digests, nonceSha256 });
    } catch (error) {
      await admission.giveBack(pass);
      throw error;
    }
    const certificate = key === undefined ? undefined : await certification?.issue(name, key);
    await admission.entered(name);
    await this.pushUsers();
    log.info('device.enrolled', { deviceId: name, board, address, certificate: certificate?.serial ?? null });
    return { kind: 'enrolled', deviceId: name, secret, certificate };
  }

  /**
   * A certificate for a new key of an enrolled device, by proof of the present one; a device that has none yet, enrolled
   * by an earlier release, shows its secret instead.
   *
   * Throws `request.invalid`, `enrol.too-many-attempts`, `enrol.certificate-refused`, `enrol.bad-request`,
   * `enrol.key-reused` or `request.not-found` where there is no authority.
   */
  async renew(request: unknown, secret: string | undefined, address: string): Promise<Renewed> {
    const { certification, clock, log } = this.#parts;
    if (certification === undefined) {
      throw new FleetError('request.not-found', 'this controller gives no certificates', {
        hint: 'its broker is reached without',
      });
    }
    this.#mayTry(address);
    const { deviceId, csr, proof } = readRenewal(request);
    try {
      const certificate =
        proof === undefined
          ? await this.#firstCertificate(certification, deviceId, csr, secret)
          : await certification.renew(deviceId, csr, proof);
      await this.pushUsers();
      log.info('device.certified', { deviceId, serial: certificate.serial, notAfterMs: certificate.notAfter });
      return { deviceId, certificate };
    } catch (error) {
      this.#failures.failed(address, clock.now());
      log.warn('enrol.certificate-refused', { deviceId, address, reason: messageOf(error) });
      throw error;
    }
  }

  /**
   * Ends all that lets a device in: its certificates, its secret, and its connection. It stays known, and its name taken,
   * until it is removed. Throws `device.unknown`.
   */
  async revoke(deviceId: DeviceId): Promise<void> {
    const { fleet, certification, clock, log } = this.#parts;
    const device = fleet.view.get(deviceId);
    if (device === undefined) throw unknownDevice(deviceId);
    await fleet.setCredentials(deviceId, { secretSha256: REVOKED });
    await certification?.revoke(deviceId);
    await this.pushUsers();
    // The broker publishes no will of one who is no user any more.
    const { epoch, presence, reported } = device;
    if (presence === 'online') {
      const gone = { v: 1 as const, state: 'offline' as const, epoch, reason: 'will' as const };
      const agentVersion = reported?.agentVersion ?? 'unknown';
      fleet.record({ kind: 'presence', deviceId, presence: { ...gone, agentVersion }, at: clock.now() });
    }
    log.warn('device.revoked', { deviceId });
  }

  /** Of the authority that certifies devices; empty without one. */
  get authorityPem(): string {
    return this.#parts.certification?.authorityPem ?? '';
  }

  /** Throws `device.unknown`. The device is cut off at once, and its name is free. */
  async remove(deviceId: DeviceId): Promise<void> {
    if (!(await this.#parts.fleet.remove(deviceId))) {
      throw unknownDevice(deviceId);
    }
    await this.#parts.certification?.revoke(deviceId);
    await this.pushUsers();
    this.#parts.log.info('device.removed', { deviceId });
  }

  /** By what the device is let in. Throws `device.unknown`. */
  credentialsOf(deviceId: DeviceId): CredentialsView {
    const credentials = this.#parts.fleet.credentials(deviceId);
    if (credentials === undefined) throw unknownDevice(deviceId);
    const certificates = this.#parts.certification?.live(deviceId) ?? [];
    if (credentials.secretSha256 === REVOKED) return { state: 'revoked', certificates };
    return { state: certificates.length > 0 ? 'certificate' : 'secret', certificates };
  }

  /** Whether `secret` is that of an enrolled device. Takes the same time for a wrong one as for an unknown device. */
  isDevice(deviceId: string, secret: string): boolean {
    const id = deviceIdSchema.safeParse(deviceId);
    const known = id.success ? this.#parts.fleet.credentials(id.data)?.secretSha256 : undefined;
    const same = isSame(secretDigest(secret), known ?? secretDigest(''));
    return same && known !== undefined;
  }

  users(): readonly BrokerUser[] {
    const { fleet, certification } = this.#parts;
    const devices = [...fleet.view.keys()].flatMap((id): readonly BrokerUser[] => {
      const credentials = fleet.credentials(id);
      if (credentials === undefined || credentials.secretSha256 === REVOKED) return [];
      const { nonceSha256: _, ...digests } = credentials;
      return [{ username: id, ...digests, role: 'device', certificates: certification?.live(id) ?? [] }];
    });
    return [this.#controller, ...devices];
  }

  #digestsOf(secret: string): Pick<BrokerUser, 'secretSha256' | 'mosquittoDigest'> {
    const salt = Buffer.from(this.#parts.random.token(SALT_CHARACTERS), 'base64url');
    return { secretSha256: secretDigest(secret), mosquittoDigest: mosquittoDigest(secret, salt) };
  }

  #mayTry(address: string): void {
    if (this.#failures.mayTry(address, this.#parts.clock.now())) return;
    throw new FleetError('enrol.too-many-attempts', `too many refused attempts from ${address}`, {
      hint: `wait ${FAILURE_PERIOD / 1000} s; join tokens are made by \`fleetgate devices join-token\``,
      context: { retryAfterMs: FAILURE_PERIOD },
      retryable: true,
    });
  }

  #passOf(token: string, name: DeviceId, address: string): Pass {
    try {
      return this.#parts.admission.passOf(token);
    } catch (error) {
      this.#failures.failed(address, this.#parts.clock.now());
      this.#parts.log.warn('enrol.bad-token', { address, name, reason: messageOf(error) });
      throw error;
    }
  }

  #checkPlace(name: DeviceId, board: BoardId, isRepeated: boolean): void {
    const { boards, fleet } = this.#parts;
    if (!boards.has(board)) {
      const known = [...boards.keys()].join(', ');
      throw new FleetError('board.unknown', `board ${board} is not known, expected one of ${known}`, {
        hint: 'see `fleetgate agent --help`; firmware-configs/README.md says how to add a board',
      });
    }
    if (name === this.#controller.username) {
      throw new FleetError('enrol.name-taken', `${name} is the name of the controller itself`, {
        hint: 'choose another name',
      });
    }
    if (fleet.view.has(name) && !isRepeated) throw nameTaken(name);
  }

  async #firstCertificate(
    certification: Certification,
    deviceId: DeviceId,
    csr: string,
    secret: string | undefined,
  ): Promise<IssuedCertificate> {
    const mayHave = secret !== undefined && this.isDevice(deviceId, secret);
    // A secret has crossed the network; once a device has a key, the key alone speaks for it.
    if (!mayHave || certification.has(deviceId)) {
      throw new FleetError('enrol.certificate-refused', 'a proof by the present certificate is missing', {
        hint: 'only a device that never had a certificate shows its secret instead',
      });
    }
    return certification.issue(deviceId, await certification.read(deviceId, csr));
  }

  async #admit(name: DeviceId, board: BoardId, credentials: Credentials): Promise<void> {
    const { fleet, log } = this.#parts;
    try {
      await fleet.enrol(name, board, credentials);
    } catch (error) {
      if (!this.#isAskedAgain(name, board, credentials.nonceSha256)) throw error;
      log.info('enrol.repeated', { deviceId: name });
      await fleet.setCredentials(name, credentials);
    }
  }

  /** A device that has connected has its secret: whoever comes with its nonce then is somebody else. */
  #isAskedAgain(name: DeviceId, board: BoardId, nonceSha256: string | undefined): boolean {
    const device = this.#parts.fleet.view.get(name);
    const known = this.#parts.fleet.credentials(name)?.nonceSha256;
    if (device?.presence !== 'never-seen' || device.board !== board) return false;
    return nonceSha256 !== undefined && known !== undefined && isSame(nonceSha256, known);
  }

  async #setUsers(): Promise<void> {
    try {
      await this.#parts.setUsers(this.users());
    } catch (error) {
      this.#parts.log.warn('enrol.users-delayed', { reason: messageOf(error) });
    }
  }
}

function unknownDevice(id: DeviceId): FleetError {
  return new FleetError('device.unknown', `there is no device named ${id}`, { hint: '`fleetgate devices` lists all' });
}

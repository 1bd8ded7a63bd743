import type { DeviceId, FleetId, JobId, ReplicaId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { messageOf } from '@fleetgate/shared/errors';
import { decode, encode } from '@fleetgate/shared/protocol/codec';
import { type Job, type JobOut, jobOutSchema } from '@fleetgate/shared/protocol/job';
import {
  fleetFilter,
  jobCancelTopic,
  jobNextTopic,
  jobsTopic,
  parseTopic,
  replicaJobsFilter,
} from '@fleetgate/shared/protocol/topics';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { filter, map, merge, type Observable, share } from 'rxjs';

import type { BrokerLink, BrokerMessage } from '../platform/broker-link.js';
import type { ExpertLink } from './expert-link.js';

/** Every so many refused messages one line is logged: a device gone mad must not fill the disk. */
const LOG_EVERY = 1000;
const MAX_REASON_CHARS = 200;

interface DeviceOut {
  readonly deviceId: DeviceId;
  readonly out: JobOut;
}

/**
 * Jobs over the fleet's broker. One of several controllers names itself in its jobs and hears of these alone; agents that do
 * not know of such names are heard by all, for whom jobs of others are unknown ones.
 */
export class MqttExpertLink implements ExpertLink {
  readonly out$: Observable<DeviceOut>;
  readonly #broker: BrokerLink;
  readonly #fleet: FleetId;
  readonly #log: Logger;
  readonly #replica: ReplicaId | undefined;
  #refused = 0;

  constructor(broker: BrokerLink, fleet: FleetId, log: Logger, replica?: ReplicaId) {
    this.#broker = broker;
    this.#fleet = fleet;
    this.#log = log;
    this.#replica = replica;
    const filters = [
      fleetFilter(fleet, 'job-out'),
      ...(replica === undefined ? [] : [replicaJobsFilter(fleet, replica)]),
    ];
    this.out$ = merge(...filters.map((each) => broker.messages(each))).pipe(
      map((message) => this.#read(message)),
      filter((out) => out !== undefined),
      share(),
    );
  }

  /** Messages that were not what they should be, since the start. */
  get refused(): number {
    return this.#refused;
  }

  async send(device: DeviceId, job: Job): Promise<void> {
    await this.#broker.publish(jobsTopic(this.#fleet, device), encode({ ...job, replica: this.#replica }));
  }

  cancel(device: DeviceId, job: JobId, reason: string): void {
    const message = { v: PROTOCOL_VERSION, jobId: job, reason: reason.slice(0, MAX_REASON_CHARS) };
    this.#tell('job.not-cancelled', device, job, jobCancelTopic(this.#fleet, device, job), message);
  }

  next(device: DeviceId, job: JobId, step: number, token: number): void {
    const message = { v: PROTOCOL_VERSION, jobId: job, step, token };
    this.#tell('job.not-continued', device, job, jobNextTopic(this.#fleet, device, job), message);
  }

  #tell(failure: string, device: DeviceId, job: JobId, topic: string, message: object): void {
    this.#broker.publish(topic, encode(message)).catch((error: unknown) => {
      this.#log.warn(failure, { jobId: job, deviceId: device, reason: messageOf(error) });
    });
  }

  /** The message, or nothing: whatever a device sends, the others are still listened to. */
  #read({ topic, payload }: BrokerMessage): DeviceOut | undefined {
    const parsed = parseTopic(topic);
    const decoded = decode(jobOutSchema, payload);
    if (!decoded.ok) return this.#refuse(topic, decoded.error.message);
    if (parsed?.channel !== 'job-out') return this.#refuse(topic, 'not a topic of job output');
    if (parsed.job !== decoded.message.jobId) return this.#refuse(topic, 'topic and message name different jobs');
    return { deviceId: parsed.device, out: decoded.message };
  }

  #refuse(topic: string, reason: string): undefined {
    if (this.#refused % LOG_EVERY === 0) {
      this.#log.warn('job-out.refused', { topic: topic.slice(0, 200), reason, refused: this.#refused + 1 });
    }
    this.#refused += 1;
    return undefined;
  }
}

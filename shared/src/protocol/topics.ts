import type { DeviceId, FleetId, JobId, ReplicaId } from '../ids.js';
import { deviceIdSchema, fleetIdSchema, jobIdSchema, replicaIdSchema } from '../ids.js';
import type { JobName } from './job.js';

/** Every MQTT topic is built and parsed here; nothing else spells one. */
const ROOT = 'fleetgate/v1';

/** Channels below `fleetgate/v1/<fleet>/<device>/`. */
export type Channel =
  'presence' | 'reported' | 'desired' | 'telemetry' | 'events' | 'jobs' | 'job-out' | 'job-cancel' | 'job-next';

export const presenceTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/presence`;
export const reportedTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/reported`;
export const desiredTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/desired`;
export const telemetryTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/telemetry`;
export const eventsTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/events`;
export const jobsTopic = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/jobs`;
/** Where a controller is one of several, the topic names it: each hears of its own jobs alone. */
export const jobOutTopic = (fleet: FleetId, device: DeviceId, { jobId, replica }: JobName): string =>
  `${ROOT}/${fleet}/${device}/jobs/${jobId}/out${replica === undefined ? '' : `/${replica}`}`;
export const jobCancelTopic = (fleet: FleetId, device: DeviceId, job: JobId): string =>
  `${ROOT}/${fleet}/${device}/jobs/${job}/cancel`;
export const jobNextTopic = (fleet: FleetId, device: DeviceId, job: JobId): string =>
  `${ROOT}/${fleet}/${device}/jobs/${job}/next`;

/** Subscription filters: of the controller (all devices of a fleet) and of one device. */
export const fleetFilter = (
  fleet: FleetId,
  channel: 'presence' | 'reported' | 'desired' | 'telemetry' | 'events' | 'job-out',
): string => (channel === 'job-out' ? `${ROOT}/${fleet}/+/jobs/+/out` : `${ROOT}/${fleet}/+/${channel}`);
/** Of the jobs of one of several controllers. */
export const replicaJobsFilter = (fleet: FleetId, replica: ReplicaId): string =>
  `${fleetFilter(fleet, 'job-out')}/${replica}`;
/** `filter`, each message to one of those alone who subscribe in this way (MQTT 5, 4.8.2). */
export const sharedFilter = (filter: string): string => `$share/fleetgate/${filter}`;
export const jobCancelFilter = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/jobs/+/cancel`;
export const jobNextFilter = (fleet: FleetId, device: DeviceId): string => `${ROOT}/${fleet}/${device}/jobs/+/next`;

export interface ParsedTopic {
  readonly fleet: FleetId;
  readonly device: DeviceId;
  readonly channel: Channel;
  readonly job?: JobId;
  readonly replica?: ReplicaId;
}

const JOB_LEAVES: ReadonlyMap<string, Channel> = new Map([
  ['out', 'job-out'],
  ['cancel', 'job-cancel'],
  ['next', 'job-next'],
]);
const PLAIN: ReadonlySet<string> = new Set(['presence', 'reported', 'desired', 'telemetry', 'events', 'jobs']);

/** Parts of one of our topics, or undefined when it is not one. */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const [root, version, fleetName, deviceName, channel, jobName, leaf, replicaName, ...rest] = topic.split('/');
  if (`${root}/${version}` !== ROOT || rest.length > 0) return undefined;
  const fleet = fleetIdSchema.safeParse(fleetName);
  const device = deviceIdSchema.safeParse(deviceName);
  if (!fleet.success || !device.success || channel === undefined) return undefined;
  if (jobName === undefined) {
    return PLAIN.has(channel) ? { fleet: fleet.data, device: device.data, channel: channel as Channel } : undefined;
  }
  const job = jobIdSchema.safeParse(jobName);
  const jobChannel = JOB_LEAVES.get(leaf ?? '');
  if (channel !== 'jobs' || !job.success || jobChannel === undefined) return undefined;
  const parsed = { fleet: fleet.data, device: device.data, channel: jobChannel, job: job.data };
  if (replicaName === undefined) return parsed;
  const replica = replicaIdSchema.safeParse(replicaName);
  return jobChannel === 'job-out' && replica.success ? { ...parsed, replica: replica.data } : undefined;
}

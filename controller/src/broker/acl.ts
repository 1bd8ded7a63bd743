import type { FleetId } from '@fleetgate/shared/ids';
import {
  type Channel,
  desiredTopic,
  jobCancelFilter,
  jobNextFilter,
  jobsTopic,
  parseTopic,
} from '@fleetgate/shared/protocol/topics';
import { type DeviceId, deviceIdSchema } from '@fleetgate/shared/ids';

export type BrokerRole = 'controller' | 'device';

/** Who is asking: a device's name is also its MQTT user. */
export interface Principal {
  readonly username: string;
  readonly role: BrokerRole;
}

export type PublishVerdict = 'allowed' | 'foreign-topic' | 'retain-not-allowed';

const DEVICE_CHANNELS: ReadonlySet<Channel> = new Set(['presence', 'reported', 'telemetry', 'events', 'job-out']);
const CONTROLLER_CHANNELS: ReadonlySet<Channel> = new Set(['desired', 'jobs', 'job-cancel', 'job-next']);
// A retained message outlives its sender's connection, so only whole documents may be retained: at most three a device.
const RETAINED_CHANNELS: ReadonlySet<Channel> = new Set(['presence', 'reported', 'desired']);

/** May `principal` publish to `topic`? A device only under its own name; nobody outside the fleet's topics. */
export function judgePublish(
  principal: Principal,
  fleet: FleetId,
  topic: string,
  retain: 'retained' | 'live',
): PublishVerdict {
  const parsed = parseTopic(topic);
  if (parsed === undefined || parsed.fleet !== fleet) return 'foreign-topic';
  const channels = principal.role === 'controller' ? CONTROLLER_CHANNELS : DEVICE_CHANNELS;
  if (!channels.has(parsed.channel)) return 'foreign-topic';
  if (principal.role === 'device' && parsed.device !== principal.username) return 'foreign-topic';
  return retain === 'live' || RETAINED_CHANNELS.has(parsed.channel) ? 'allowed' : 'retain-not-allowed';
}

/**
 * May `principal` subscribe to `filter`?
 *
 * A device: exactly its four own filters. The controller: anything that cannot match outside its fleet's topics.
 */
export function maySubscribe(principal: Principal, fleet: FleetId, filter: string): boolean {
  if (principal.role === 'controller') {
    const [root, version, fleetName, ...rest] = filter.split('/');
    return `${root}/${version}` === ROOT && fleetName === fleet && rest.length > 0 && isWellFormed(rest);
  }
  const device = deviceIdSchema.safeParse(principal.username);
  return device.success && deviceFilters(fleet, device.data).includes(filter);
}

/** All that a device may read. */
export function deviceFilters(fleet: FleetId, device: DeviceId): readonly string[] {
  return [desiredTopic, jobsTopic, jobCancelFilter, jobNextFilter].map((of) => of(fleet, device));
}

const ROOT = 'fleetgate/v1';

function isWellFormed(levels: readonly string[]): boolean {
  return levels.every((level, index) =>
    level.includes('#')
      ? level === '#' && index === levels.length - 1
      : level === '+' || (level !== '' && !level.includes('+')),
  );
}

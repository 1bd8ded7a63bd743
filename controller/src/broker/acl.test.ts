import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { deviceId, fleetId, jobId, replicaId } from '@fleetgate/shared/ids';
import {
  desiredTopic,
  eventsTopic,
  fleetFilter,
  jobCancelFilter,
  jobCancelTopic,
  jobNextFilter,
  jobNextTopic,
  jobOutTopic,
  jobsTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';

import { topicMatches } from '../platform/topic-filter.js';
import { type Principal, deviceFilters, judgePublish, maySubscribe } from './acl.js';

const home = fleetId('home');
const pi = deviceId('pi');
const job = jobId('j1');
const device: Principal = { username: 'pi', role: 'device' };
const controller: Principal = { username: 'controller', role: 'controller' };

describe('rights at the broker', () => {
  test.each([
    [presenceTopic(home, pi), 'allowed', 'foreign-topic'],
    [reportedTopic(home, pi), 'allowed', 'foreign-topic'],
    [telemetryTopic(home, pi), 'allowed', 'foreign-topic'],
    [eventsTopic(home, pi), 'allowed', 'foreign-topic'],
    [jobOutTopic(home, pi, { jobId: job }), 'allowed', 'foreign-topic'],
    [jobOutTopic(home, pi, { jobId: job, replica: replicaId('one') }), 'allowed', 'foreign-topic'],
    [desiredTopic(home, pi), 'foreign-topic', 'allowed'],
    [jobsTopic(home, pi), 'foreign-topic', 'allowed'],
    [jobCancelTopic(home, pi, job), 'foreign-topic', 'allowed'],
    [jobNextTopic(home, pi, job), 'foreign-topic', 'allowed'],
    [telemetryTopic(home, deviceId('jetson')), 'foreign-topic', 'foreign-topic'],
    [telemetryTopic(fleetId('office'), pi), 'foreign-topic', 'foreign-topic'],
    [desiredTopic(fleetId('office'), pi), 'foreign-topic', 'foreign-topic'],
    ['$SYS/broker/uptime', 'foreign-topic', 'foreign-topic'],
    ['homeassistant/sensor/pi/config', 'foreign-topic', 'foreign-topic'],
    [`${telemetryTopic(home, pi)}/more`, 'foreign-topic', 'foreign-topic'],
    ['', 'foreign-topic', 'foreign-topic'],
  ])('publish to %j: device %s, controller %s', (topic, ofDevice, ofController) => {
    expect(judgePublish(device, home, topic, 'live')).toBe(ofDevice);
    expect(judgePublish(controller, home, topic, 'live')).toBe(ofController);
  });

  test('only whole documents may be retained', () => {
    expect(judgePublish(device, home, presenceTopic(home, pi), 'retained')).toBe('allowed');
    expect(judgePublish(device, home, reportedTopic(home, pi), 'retained')).toBe('allowed');
    expect(judgePublish(controller, home, desiredTopic(home, pi), 'retained')).toBe('allowed');
    expect(judgePublish(device, home, telemetryTopic(home, pi), 'retained')).toBe('retain-not-allowed');
    expect(judgePublish(controller, home, jobsTopic(home, pi), 'retained')).toBe('retain-not-allowed');
    expect(judgePublish(controller, home, jobNextTopic(home, pi, job), 'retained')).toBe('retain-not-allowed');
  });

  test('a device reads its own four filters', () => {
    for (const filter of [desiredTopic, jobsTopic, jobCancelFilter, jobNextFilter].map((of) => of(home, pi))) {
      expect(maySubscribe(device, home, filter)).toBe(true);
      expect(maySubscribe({ ...device, username: 'jetson' }, home, filter)).toBe(false);
    }
  });

  test('the controller reads its fleet', () => {
    for (const channel of ['presence', 'reported', 'telemetry', 'events', 'job-out'] as const) {
      expect(maySubscribe(controller, home, fleetFilter(home, channel))).toBe(true);
      expect(maySubscribe(controller, home, fleetFilter(fleetId('office'), channel))).toBe(false);
    }
  });

  const words = 'fleetgate v1 home office pi jetson presence reported desired telemetry events jobs j1 out cancel next';
  const level = fc.constantFrom(...words.split(' '), '+', '#', '$SYS', '', 'pi+', '#x');
  const prefixes = fc.constantFrom('', 'fleetgate/v1/', 'fleetgate/v1/home/', 'fleetgate/v1/home/pi/');
  const filters = fc
    .tuple(prefixes, fc.array(level, { minLength: 1, maxLength: 7 }))
    .map(([prefix, levels]) => prefix + levels.join('/'));
  const channelTopics = [presenceTopic, reportedTopic, desiredTopic, telemetryTopic, eventsTopic, jobsTopic];
  const everyTopic = ['home', 'office']
    .map(fleetId)
    .flatMap((fleet) =>
      ['pi', 'jetson']
        .map(deviceId)
        .flatMap((id) => [
          ...channelTopics.map((topic) => ({ fleet, topic: topic(fleet, id) })),
          { fleet, topic: jobOutTopic(fleet, id, { jobId: job }) },
          { fleet, topic: jobCancelTopic(fleet, id, job) },
          { fleet, topic: jobNextTopic(fleet, id, job) },
        ]),
    )
    .concat({ fleet: fleetId('none'), topic: '$SYS/x/uptime' }, { fleet: fleetId('none'), topic: 'homeassistant/x' });

  test('no filter that a device may subscribe to matches what is not its own to read', () => {
    fc.assert(
      fc.property(filters, (filter) => {
        if (!maySubscribe(device, home, filter)) return;
        for (const { topic } of everyTopic) {
          if (topicMatches(filter, topic)) {
            expect(deviceFilters(home, pi).some((own) => topicMatches(own, topic))).toBe(true);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('no filter that the controller may subscribe to matches outside its fleet', () => {
    fc.assert(
      fc.property(filters, (filter) => {
        if (!maySubscribe(controller, home, filter)) return;
        for (const { fleet, topic } of everyTopic) if (topicMatches(filter, topic)) expect(fleet).toBe(home);
      }),
      { numRuns: 2000 },
    );
  });

  test('what one device may publish no other may', () => {
    fc.assert(
      fc.property(filters, fc.constantFrom('live', 'retained'), (topic, retain) => {
        const verdicts = ['pi', 'jetson'].map((username) =>
          judgePublish({ username, role: 'device' }, home, topic, retain),
        );
        expect(verdicts.filter((verdict) => verdict === 'allowed').length).toBeLessThanOrEqual(1);
        if (topic.startsWith('$')) expect(verdicts).toEqual(['foreign-topic', 'foreign-topic']);
      }),
      { numRuns: 2000 },
    );
  });
});

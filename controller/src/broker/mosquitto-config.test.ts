import { deviceId, fleetId } from '@fleetgate/shared/ids';
import {
  desiredTopic,
  eventsTopic,
  jobCancelTopic,
  jobNextTopic,
  jobOutTopic,
  jobsTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';
import { jobId, replicaId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { topicMatcher } from '../platform/topic-filter.js';
import { deviceFilters, judgePublish, maySubscribe } from './acl.js';
import type { BrokerUser } from './broker-user.js';
import { emqxAcl, mosquittoNamedAcl } from './mosquitto-config.js';

const home = fleetId('home');
const [pi, jetson] = [deviceId('pi'), deviceId('jetson')];
const job = jobId('j');
const users: readonly BrokerUser[] = [
  { username: 'controller', role: 'controller', secretSha256: '' },
  { username: 'pi', role: 'device', secretSha256: '' },
  { username: 'jetson', role: 'device', secretSha256: '' },
];
const topics = [fleetId('home'), fleetId('away')].flatMap((fleet) =>
  [pi, jetson].flatMap((device) => [
    ...[presenceTopic, reportedTopic, telemetryTopic, eventsTopic, desiredTopic, jobsTopic].map((of) =>
      of(fleet, device),
    ),
    ...[jobCancelTopic, jobNextTopic].map((of) => of(fleet, device, job)),
    ...[undefined, replicaId('one')].map((replica) => jobOutTopic(fleet, device, { jobId: job, replica })),
  ]),
);

type Action = 'publish' | 'subscribe';
type Rights = (user: string, action: Action, topic: string) => boolean;

/** What EMQX makes of its file: the first rule that fits decides. A filter is taken for a topic, as EMQX does. */
function emqx(text: string): Rights {
  const rules = text.split('\n').filter((line) => line !== '');
  return (user, action, topic) => {
    for (const rule of rules) {
      if (rule === '{deny, all}.') return false;
      const parts = /^\{allow, (all|\{username, "([^"]+)"\}), (publish|subscribe), \[(.*)\]\}\.$/.exec(rule);
      if (parts === null) throw new Error(`not a rule: ${rule}`);
      const [, who, name, what, list = ''] = parts;
      if ((who !== 'all' && name !== user) || what !== action) continue;
      const filters = list.split(', ').map((quoted) => quoted.slice(1, -1).replaceAll('${username}', user));
      if (filters.some((filter) => filter === topic || topicMatcher(filter)(topic))) return true;
    }
    throw new Error('no rule fits');
  };
}

/** What mosquitto makes of a list by name. */
function mosquitto(text: string): Rights {
  const rights = new Map<string, { readonly access: string; readonly filter: string }[]>();
  let user = '';
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [word, access = '', filter = ''] = line.split(' ');
    if (word === 'user') rights.set((user = access), []);
    else rights.get(user)?.push({ access, filter });
  }
  return (name, action, topic) =>
    (rights.get(name) ?? []).some(
      ({ access, filter }) => access === (action === 'publish' ? 'write' : 'read') && topicMatcher(filter)(topic),
    );
}

describe.each([
  ['EMQX', emqx(emqxAcl(home, 'controller'))],
  ['mosquitto by name', mosquitto(mosquittoNamedAcl(home, users))],
])('the rights for %s', (_broker, may) => {
  it('are those of the embedded broker: who publishes what', () => {
    for (const { username, role } of users) {
      const allowed = topics.filter((topic) => may(username, 'publish', topic));
      const ours = topics.filter((topic) => judgePublish({ username, role }, home, topic, 'live') === 'allowed');
      expect(allowed).toEqual(ours);
      expect(allowed.length).toBeGreaterThan(0);
    }
  });

  it('are those of the embedded broker: who reads what', () => {
    for (const device of [pi, jetson]) {
      for (const filter of deviceFilters(home, device)) {
        expect(may('pi', 'subscribe', filter)).toBe(maySubscribe({ username: 'pi', role: 'device' }, home, filter));
      }
    }
    for (const topic of topics)
      expect(may('controller', 'subscribe', topic)).toBe(topic.startsWith('fleetgate/v1/home/'));
  });
});

it('gives a device that is not on the list no rights at mosquitto', () => {
  const may = mosquitto(mosquittoNamedAcl(home, users.slice(0, 2)));
  expect(topics.filter((topic) => may('jetson', 'publish', topic) || may('jetson', 'subscribe', topic))).toEqual([]);
});

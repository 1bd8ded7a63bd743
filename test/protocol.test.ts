import { readFileSync, readdirSync } from 'node:fs';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { deviceId, fleetId, jobId, replicaId, jobIdSchema } from '@fleetgate/shared/ids';
import { decode, decodePart, encode } from '@fleetgate/shared/protocol/codec';
import {
  MOST_CHOICES,
  MOST_DETAILED_TOKENS,
  MOST_MIX_TOKENS,
  MOST_TOP_LOG_PROBS,
} from '@fleetgate/shared/protocol/job';
import { MESSAGE_SCHEMAS, type MessageName, jsonSchemaOf } from '@fleetgate/shared/protocol/json-schema';
import {
  desiredTopic,
  jobCancelTopic,
  jobNextTopic,
  jobOutTopic,
  jobsTopic,
  parseTopic,
  presenceTopic,
} from '@fleetgate/shared/protocol/topics';
import { MAX_MESSAGE_BYTES } from '@fleetgate/shared/protocol/version';

const FIXTURES = new URL('fixtures/protocol/v1/', import.meta.url);
const names = Object.keys(MESSAGE_SCHEMAS) as MessageName[];
const schemaOf = (name: MessageName): z.ZodType<object> => MESSAGE_SCHEMAS[name];
const fixture = (name: string): Buffer => readFileSync(new URL(`${name}.json`, FIXTURES));

describe('messages', () => {
  it('has one fixture of version 1 for every message', () => {
    expect(readdirSync(FIXTURES).sort()).toEqual(names.map((name) => `${name}.json`).sort());
  });

  it.each(names)('still decodes the %s of version 1, and gives back what it encoded', (name) => {
    const first = decode(schemaOf(name), fixture(name));
    if (!first.ok) throw first.error;
    expect(first.message).toEqual(JSON.parse(fixture(name).toString('utf8')));
    const second = decode(schemaOf(name), encode(first.message));
    expect(second).toEqual(first);
  });

  it.each(names)('ignores unknown fields of a %s and refuses another major version', (name) => {
    const message = JSON.parse(fixture(name).toString('utf8')) as object;
    expect(decode(schemaOf(name), encode({ ...message, later: true })).ok).toBe(true);
    const future = decode(schemaOf(name), encode({ ...message, v: 2 }));
    expect(future.ok ? undefined : future.error.code).toBe('protocol.unsupported-version');
  });

  it('takes the concurrency of a device within reason', () => {
    const reported = JSON.parse(fixture('reported').toString('utf8')) as object;
    expect(decode(schemaOf('reported'), encode({ ...reported, concurrency: 4 })).ok).toBe(true);
    for (const concurrency of [0, 1.5, 1e9]) {
      expect(decode(schemaOf('reported'), encode({ ...reported, concurrency })).ok).toBe(false);
    }
  });

  it('takes a mixed job and its distributions, each id with its log-probability', () => {
    const [job, out] = [fixture('jobs'), fixture('job-out')].map(
      (bytes) => JSON.parse(bytes.toString('utf8')) as object,
    );
    const mix = { ...job, kind: 'mix', topK: 8, maxTokens: 5, stop: [] };
    const next = { ...out, kind: 'next', step: 0, promptBits: 31.5, ids: [7, 2], restProb: 0.1, text: '' };
    const takes = (name: MessageName, message: object) => decode(schemaOf(name), encode(message)).ok;
    expect(takes('jobs', { ...mix, input: { kind: 'complete', prompt: 'one' } })).toBe(true);
    expect(takes('jobs', { ...mix, prompt: 'one' })).toBe(false);
    expect(takes('jobs', { ...mix, input: { kind: 'complete', prompt: 'one' }, topK: 513 })).toBe(false);
    expect(takes('job-out', { ...next, logProbs: [-0.2, -1.6] })).toBe(true);
    expect(takes('job-out', { ...next, logProbs: [-0.2] })).toBe(false);
    expect(takes('job-out', { ...next, logProbs: [-0.2, 1.6] })).toBe(false);
  });

  it('takes how likely tokens were with their text, or without', () => {
    const [job, out] = [fixture('jobs'), fixture('job-out')].map(
      (bytes) => JSON.parse(bytes.toString('utf8')) as object,
    );
    const takes = (name: MessageName, message: object) => decode(schemaOf(name), encode(message)).ok;
    expect(takes('jobs', { ...job, topLogProbs: 2, choicesWithText: true })).toBe(true);
    expect(takes('jobs', { ...job, topLogProbs: 2, choicesWithText: 'yes' })).toBe(false);
    const text = { ...out, kind: 'tokens', text: 'four', tokens: 2 };
    const choice = { text: 'fo', logProb: -0.5, top: [{ text: 'fi', logProb: -1.5 }] };
    expect(takes('job-out', text)).toBe(true);
    expect(takes('job-out', { ...text, choices: [choice, { ...choice, top: [] }] })).toBe(true);
    expect(takes('job-out', { ...text, choices: [] })).toBe(false);
    expect(takes('job-out', { ...text, choices: [{ ...choice, logProb: 0.1 }] })).toBe(false);
    expect(takes('job-out', { ...text, choices: Array.from({ length: MOST_CHOICES + 1 }, () => choice) })).toBe(false);
    // The longest tokens of the vocabularies known, each with all that may be told in its place.
    const long = { text: 'x'.repeat(32), logProb: -123.4567 };
    const full = { ...long, top: Array.from({ length: MOST_TOP_LOG_PROBS }, () => long) };
    const most = encode({
      ...text,
      text: 'x'.repeat(16_384),
      choices: Array.from({ length: MOST_CHOICES }, () => full),
    });
    expect(most.byteLength).toBeLessThan(MAX_MESSAGE_BYTES);
  });

  it('has room in a message for the largest score in detail and the widest step', () => {
    const out = JSON.parse(fixture('job-out').toString('utf8')) as object;
    const tokenBits = Array.from({ length: MOST_DETAILED_TOKENS }, () => 1234.5678);
    expect(() => encode({ ...out, kind: 'scored', bits: 1.5, bytes: 9, promptBits: 1.5, tokenBits })).not.toThrow();
    const ids = Array.from({ length: MOST_MIX_TOKENS }, () => 262_143);
    const step = encode({
      ...out,
      kind: 'next',
      step: 99,
      ids,
      logProbs: ids.map(() => -123.4567),
      restProb: 0.1,
      text: '',
    });
    // Two hundred steps a second are well below what the broker takes from a device.
    expect(step.length).toBeLessThan(16 * 1024);
  });

  it.each(names)('describes the %s as a JSON schema', (name) => {
    expect(jsonSchemaOf(name)).toHaveProperty('$schema');
  });

  it('answers random bytes with a reason and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(...names), (bytes, name) => {
        const result = decode(schemaOf(name), bytes);
        expect(result.ok || result.error.code.startsWith('protocol.')).toBe(true);
      }),
    );
  });

  it('answers damaged messages with a reason and nothing else', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.nat(), fc.integer({ min: 0, max: 255 }), (name, at, byte) => {
        const payload = Buffer.from(fixture(name));
        payload[at % payload.length] = byte;
        expect(() => decode(schemaOf(name), payload)).not.toThrow();
      }),
    );
  });

  it('finds what a part describes in a message that it refuses, and never throws', () => {
    const part = z.object({ jobId: jobIdSchema });
    const find = (message: object) => decodePart(part, Buffer.from(JSON.stringify(message)))?.jobId;
    expect(find({ v: 9, jobId: 'j_1', sampling: 'hot' })).toBe('j_1');
    for (const message of [{ v: 1 }, { jobId: 'a/b' }, { jobId: 7 }, [], [{ jobId: 'j_1' }]]) {
      expect(find(message)).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => decodePart(part, bytes) === undefined));
  });

  it('refuses what the broker would refuse, before sending and before parsing', () => {
    expect(() => encode({ text: 'x'.repeat(MAX_MESSAGE_BYTES) })).toThrow(/expected at most/);
    const received = decode(schemaOf('presence'), Buffer.alloc(MAX_MESSAGE_BYTES + 1, 0x20));
    expect(received.ok ? undefined : received.error.code).toBe('protocol.too-large');
  });
});

describe('topics', () => {
  const [fleet, device, job, replica] = [fleetId('home'), deviceId('pi-1'), jobId('j_1'), replicaId('one')];

  it('parses what it builds', () => {
    expect(parseTopic(presenceTopic(fleet, device))).toEqual({ fleet, device, channel: 'presence' });
    expect(parseTopic(desiredTopic(fleet, device))).toEqual({ fleet, device, channel: 'desired' });
    expect(parseTopic(jobsTopic(fleet, device))).toEqual({ fleet, device, channel: 'jobs' });
    expect(parseTopic(jobOutTopic(fleet, device, { jobId: job }))).toEqual({ fleet, device, channel: 'job-out', job });
    const ofOne = { fleet, device, channel: 'job-out', job, replica };
    expect(parseTopic(jobOutTopic(fleet, device, { jobId: job, replica }))).toEqual(ofOne);
    expect(parseTopic(jobCancelTopic(fleet, device, job))).toEqual({ fleet, device, channel: 'job-cancel', job });
    expect(parseTopic(jobNextTopic(fleet, device, job))).toEqual({ fleet, device, channel: 'job-next', job });
  });

  it.each([
    '',
    'fleetgate/v1',
    'fleetgate/v2/home/pi/presence',
    'fleetgate/v1/home/pi/jobs/j/x',
    'fleetgate/v1/home/pi/jobs/j/out/ONE',
    'fleetgate/v1/home/pi/jobs/j/out/one/x',
    'fleetgate/v1/home/pi/jobs/j/next/one',
    'fleetgate/v1/home/PI/presence',
    'fleetgate/v1/home/pi/presence/x',
    '$SYS/broker',
  ])('does not take %j for one of ours', (topic) => {
    expect(parseTopic(topic)).toBeUndefined();
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { databasePath, isLoopback, loadConfig, plainHostOf, redacted, takesCertificates, tlsPortOf } from './config.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (text: string): string => {
  const path = join(folder, 'fleetgate.yaml');
  writeFileSync(path, text);
  return path;
};
const faultOf = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe('loadConfig', () => {
  it('needs nothing but a data directory', () => {
    const config = loadConfig({ flags: { dataDir: '/d' }, environment: {} });
    expect(config).toMatchObject({
      host: '127.0.0.1',
      httpPort: 8080,
      mqttPort: 1883,
      fleet: 'home',
      storePrompts: false,
    });
    expect(databasePath(config)).toBe('/d/control.sqlite');
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('lets flags win over the file, and takes secrets from the environment', () => {
    const config = loadConfig({
      flags: { dataDir: '/d', httpPort: 1, host: undefined },
      file: file('httpPort: 2\nhost: 0.0.0.0\nfleet: barn\n'),
      environment: { FLEETGATE_API_KEY: 'a-key-of-enough-length' },
    });
    expect(config).toMatchObject({ httpPort: 1, host: '0.0.0.0', fleet: 'barn', apiKey: 'a-key-of-enough-length' });
    expect(JSON.stringify(redacted(config))).not.toContain('enough');
  });

  it.each([
    [{}, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/' }, 'http://c:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://t/x' }, 'http://t/x'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_TRACES_EXPORTER: 'none' }, undefined],
  ])('takes where traces go from %j', (environment, tracesUrl) => {
    expect(loadConfig({ flags: { dataDir: '/d' }, environment }).tracesUrl).toBe(tracesUrl);
  });

  it('reports every fault at once, with what was got, and hides secrets', () => {
    const error = faultOf(() =>
      loadConfig({
        flags: {},
        file: file('httpPort: 99999\nfleet: Not A Name\nleaseMS: 5\nbrokerUrl: http://x\napiKey: short\n'),
        environment: {},
      }),
    );
    expect(error).toMatchObject({ code: 'config.invalid', hint: expect.stringContaining('fleetgate.yaml') as string });
    const text = String(error);
    for (const key of ['dataDir', 'httpPort', 'fleet', 'leaseMS', 'brokerUrl', 'apiKey'])
      expect(text).toContain(`${key}:`);
    expect(text).toContain('got 99999');
    expect(text).toContain('got nothing');
    expect(text).not.toContain('"short"');
  });

  it('takes no user in the address of a broker, for it is told to devices, and does not repeat it', () => {
    const brokerUrl = 'mqtt://controller:pass@broker';
    const text = String(faultOf(() => loadConfig({ flags: { dataDir: '/d', brokerUrl }, environment: {} })));
    expect(text).toContain('brokerUrl: expected an address without user and password');
    expect(text).not.toContain('pass@');
  });

  it('refuses a lease that one lost batch of telemetry would end', () => {
    const load = () => loadConfig({ flags: { dataDir: '/d', leaseMs: 9000 }, environment: {} });
    expect(String(faultOf(load))).toContain('leaseMs: expected at least twice telemetryBatchMs (5000), got 9000');
  });

  it('says that another database cannot be used', () => {
    const load = () => loadConfig({ flags: { dataDir: '/d', databaseUrl: 'mysql://h/d' }, environment: {} });
    expect(String(faultOf(load))).toContain('a mysql: address');
  });

  it('says what several controllers have to share', () => {
    const shared = {
      replica: 'one',
      databaseUrl: 'postgres://h/d',
      brokerUrl: 'mqtt://h',
      brokerPassword: 'secret',
      apiKey: 'a-key-of-16-chars',
      host: '0.0.0.0',
    };
    const load = (flags: object) => loadConfig({ flags: { dataDir: '/d', ...shared, ...flags }, environment: {} });
    expect(load({})).toMatchObject({ replica: 'one' });
    const lacking: readonly (readonly [object, string])[] = [
      [{ brokerUrl: undefined }, 'brokerUrl'],
      [{ databaseUrl: undefined }, 'databaseUrl'],
      [{ databaseUrl: '/a/file.sqlite' }, 'databaseUrl'],
      [{ brokerPassword: undefined }, 'brokerPassword'],
      [{ apiKey: undefined }, 'apiKey'],
      [{ brokerAuth: 'certificate', brokerUrl: 'mqtts://h' }, 'brokerAuth'],
      [{ replica: 'Not a name' }, 'replica'],
    ];
    for (const [flags, field] of lacking) expect(String(faultOf(() => load(flags))), field).toContain(`${field}: `);
    expect(redacted(load({ databaseUrl: 'postgres://u:p@h/d' }))).toMatchObject({ databaseUrl: '(set)' });
  });

  it('takes a SQLite path', () => {
    const config = loadConfig({ flags: { dataDir: '/d', databaseUrl: 'sqlite:///x/y.sqlite' }, environment: {} });
    expect(databasePath(config)).toBe('/x/y.sqlite');
  });

  it.each(['- a\n- b\n', 'just text', '{ unclosed', 'a: [\n'])('refuses the file %j', (text) => {
    expect(faultOf(() => loadConfig({ flags: { dataDir: '/d' }, file: file(text), environment: {} }))).toMatchObject({
      code: 'config.invalid',
    });
  });

  it('refuses a file that is not there, and takes an empty one', () => {
    const load = (path: string) => loadConfig({ flags: { dataDir: '/d' }, file: path, environment: {} });
    expect(faultOf(() => load(join(folder, 'none.yaml')))).toMatchObject({ code: 'config.invalid' });
    expect(load(file(''))).toMatchObject({ httpPort: 8080 });
  });
});

it('knows loopback addresses', () => {
  expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost', '0.0.0.0', '::', '192.168.1.4'].map(isLoopback)).toEqual([
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

describe('MQTT by TLS', () => {
  const external = { brokerUrl: 'mqtts://broker:8883' };
  it.each([
    ['for this machine alone', {}, undefined, '127.0.0.1', false],
    ['where others reach it', { host: '0.0.0.0' }, 8883, '127.0.0.1', true],
    ['above another port', { host: '::', mqttPort: 2883 }, 9883, '127.0.0.1', true],
    ['on a free port', { host: '0.0.0.0', mqttPort: 0 }, 0, '127.0.0.1', true],
    ['on a free port when there is none above', { host: '0.0.0.0', mqttPort: 60_000 }, 0, '127.0.0.1', true],
    ['on a port of its own', { mqttTlsPort: 4000 }, 4000, '127.0.0.1', true],
    ['beside plain for everybody', { host: '10.0.0.1', mqttPlain: 'everywhere' }, 8883, '10.0.0.1', true],
    ['alone', { mqttPlain: 'off' }, 8883, undefined, true],
    ['of an external broker with passwords', external, undefined, '127.0.0.1', false],
    [
      'of an external broker with certificates',
      { ...external, brokerAuth: 'certificate' },
      undefined,
      '127.0.0.1',
      true,
    ],
  ])('%s', (_what, flags, tlsPort, plainHost, certificates) => {
    const config = loadConfig({ flags: { dataDir: '/d', ...flags }, environment: {} });
    expect([tlsPortOf(config), plainHostOf(config), takesCertificates(config)]).toEqual([
      tlsPort,
      plainHost,
      certificates,
    ]);
  });

  it('of an external broker wants its address', () => {
    for (const brokerUrl of [undefined, 'mqtt://broker:1883']) {
      const flags = { dataDir: '/d', brokerAuth: 'certificate', ...(brokerUrl === undefined ? {} : { brokerUrl }) };
      expect(faultOf(() => loadConfig({ flags, environment: {} }))).toMatchObject({
        code: 'config.invalid',
        message: expect.stringContaining('expected an mqtts:// address') as string,
      });
    }
  });
});

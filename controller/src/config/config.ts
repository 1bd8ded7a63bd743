import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { fleetIdSchema, replicaIdSchema } from '@fleetgate/shared/ids';
import { parse } from 'yaml';
import { z } from 'zod';

const EXPERTS_DIR = fileURLToPath(new URL('../../../experts', import.meta.url));
const OUTCOMES_PATH = join(EXPERTS_DIR, 'outcomes', 'bundled.jsonl.gz');

const MOST_PORT = 65_535;
/** 1883 and 8883 are the registered ports of MQTT without and with TLS. */
const TLS_PORT_OFFSET = 7000;
const LOOPBACK = '127.0.0.1';
const port = z.number().int().min(0).max(MOST_PORT);

/** Everything that can be set. Units are in the names; what needs no setting is a constant where it is used. */
const configSchema = z.strictObject({
  /** Where the controller keeps its state. */
  dataDir: z.string().min(1),
  host: z.string().min(1).default('127.0.0.1'),
  /** 0 takes a free port. */
  httpPort: port.default(8080),
  mqttPort: port.default(1883),
  /** Port for MQTT over TLS; by default 7000 above the other, where other machines can reach the broker. */
  mqttTlsPort: port.optional(),
  /** Who may use MQTT without TLS: this machine, whoever reaches `host`, or nobody. */
  mqttPlain: z.enum(['loopback', 'everywhere', 'off']).default('loopback'),
  /** A device that joins waits until a person lets it in. */
  approveDevices: z.boolean().default(false),
  /** What the demand for slabs proposes and was shown to be tolerable is rolled out without being asked. */
  autoPrune: z.boolean().default(false),
  /** Devices that rollouts may change within a minute, all together. */
  movesPerMinute: z.number().int().min(1).max(100_000).default(60),
  /** For how long the certificate of a device is good; it renews at two thirds. */
  certificateDays: z.number().min(0.01).max(825).default(30),
  /** Name of the fleet, part of every MQTT topic. */
  fleet: z.string().default('home').pipe(fleetIdSchema),
  /** An external broker instead of the embedded one. It is told to devices, so it names no user. */
  brokerUrl: z
    .url({ protocol: /^mqtts?$/, error: 'expected an mqtt:// or mqtts:// address' })
    .refine((url) => !url.includes('@'), 'expected an address without user and password')
    .optional(),
  /** The controller's own user there; by default `controller`, with a password that it makes and keeps. */
  brokerUsername: z
    .string()
    .regex(/^[\w.-]+$/, 'expected letters, digits, ., _ and -')
    .optional(),
  brokerPassword: z.string().min(1).optional(),
  /** What the external broker lets devices in by. */
  brokerAuth: z.enum(['password', 'certificate']).default('password'),
  /** Where the external broker finds who may connect; by default `mosquitto` in the data directory. */
  brokerFilesDir: z.string().min(1).optional(),
  /** Name of this controller among several of one fleet, which share a database server and an external broker. */
  replica: replicaIdSchema.optional(),
  /** Control database: the path of a SQLite file, by default `control.sqlite` in the data directory, or a postgres: address. */
  databaseUrl: z.string().min(1).optional(),
  expertsDir: z.string().min(1).default(EXPERTS_DIR),
  /** Outcome data that the gate is trained on at the first start. */
  outcomesPath: z.string().min(1).default(OUTCOMES_PATH),
  /** Where traces go, by OTLP over HTTP; by default nowhere. Secrets go by OTEL_EXPORTER_OTLP_HEADERS. */
  tracesUrl: z
    .url({ protocol: /^https?$/, error: 'expected an http:// or https:// address' })
    .refine((url) => !url.includes('@'), 'expected an address without user and password')
    .optional(),
  apiKey: z.string().min(16, 'expected at least 16 characters').optional(),
  logLevel: z.enum(['error', 'warn', 'info', 'debug', 'silent']).default('info'),
  /** How long requests under way are waited for when the controller is told to stop. */
  drainMs: z.number().int().min(0).max(600_000).default(8_000),
  /** Keep prompt texts in the decision records. */
  storePrompts: z.boolean().default(false),
  /** A device that gives no sign of life for this long is offline. */
  leaseMs: z.number().int().min(1000).max(3_600_000).default(15_000),
  telemetrySampleMs: z.number().int().min(100).max(3_600_000).default(1000),
  telemetryBatchMs: z.number().int().min(100).max(3_600_000).default(5000),
  /** Telemetry and decision records older than this are removed. */
  retentionDays: z.number().min(0.01).max(3650).default(30),
});

export type ControllerConfig = Readonly<z.infer<typeof configSchema>>;
type Settings = Readonly<Record<string, unknown>>;

const SECRETS: ReadonlySet<string> = new Set(['apiKey', 'brokerPassword', 'databaseUrl']);
const HINTS: Readonly<Record<string, string>> = {
  dataDir: 'give it with --data DIR',
  brokerUrl: 'for example mqtt://192.168.1.10:1883; the user goes by FLEETGATE_BROKER_USERNAME and _PASSWORD',
  tracesUrl: 'for example http://127.0.0.1:4318/v1/traces',
  httpPort: 'ports go from 0 (a free one) to 65535',
  mqttPort: 'ports go from 0 (a free one) to 65535',
  mqttTlsPort: 'ports go from 0 (a free one) to 65535',
};

/**
 * The controller's configuration: flags over environment (secrets and OpenTelemetry's own) over the YAML file over defaults.
 * Frozen.
 *
 * Throws `config.invalid` with every fault on a line of its own: where, expected, got, hint.
 */
export function loadConfig(sources: {
  readonly flags: Settings;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file?: string | undefined;
  /** Of the command that asks, where the schema has none. */
  readonly defaults?: Settings;
}): ControllerConfig {
  const { flags, environment, file, defaults = {} } = sources;
  const fromEnvironment = {
    tracesUrl: tracesUrlOf(environment),
    apiKey: environment['FLEETGATE_API_KEY'],
    brokerPassword: environment['FLEETGATE_BROKER_PASSWORD'],
    brokerUsername: environment['FLEETGATE_BROKER_USERNAME'],
    replica: environment['FLEETGATE_REPLICA'],
    databaseUrl: environment['FLEETGATE_DATABASE_URL'],
  };
  const settings = {
    ...defaults,
    ...(file === undefined ? {} : readYaml(file)),
    ...withoutUndefined(fromEnvironment),
    ...withoutUndefined(flags),
  };
  const result = configSchema.safeParse(settings);
  const faults = [
    ...(result.success ? [] : result.error.issues.flatMap((issue) => faultsOf(issue, settings))),
    ...databaseFaults(settings['databaseUrl']),
    ...(result.success
      ? [...leaseFaults(result.data), ...brokerFaults(result.data), ...replicaFaults(result.data)]
      : []),
  ];
  if (!result.success || faults.length > 0) {
    throw new FleetError('config.invalid', ['the configuration cannot be used:', ...faults].join('\n  '), {
      hint: file === undefined ? 'see `fleetgate controller --help`' : `correct ${resolve(file)} or the options given`,
    });
  }
  return Object.freeze(result.data);
}

/** Whether an address of a database is that of a PostgreSQL server. */
export function isPostgres(url: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(url);
}

/** Path of the control database. */
export function databasePath(config: ControllerConfig): string {
  const url = config.databaseUrl;
  return url === undefined ? join(config.dataDir, 'control.sqlite') : url.replace(/^(?:sqlite|file):(?:\/\/)?/, '');
}

/** Port of MQTT by TLS, 0 for a free one; undefined: the embedded broker is for this machine, or there is none. */
export function tlsPortOf({ host, mqttPort, mqttTlsPort, mqttPlain, brokerUrl }: ControllerConfig): number | undefined {
  if (brokerUrl !== undefined) return undefined;
  if (mqttTlsPort === undefined && isLoopback(host) && mqttPlain !== 'off') return undefined;
  const derived = mqttPort + TLS_PORT_OFFSET;
  return mqttTlsPort ?? (mqttPort === 0 || derived > MOST_PORT ? 0 : derived);
}

/** Where the embedded broker takes MQTT without TLS; undefined: nowhere. */
export function plainHostOf({ host, mqttPlain }: ControllerConfig): string | undefined {
  if (mqttPlain === 'off') return undefined;
  return mqttPlain === 'everywhere' || isLoopback(host) ? host : LOOPBACK;
}

/** Whether devices are known by certificates. */
export function takesCertificates(config: ControllerConfig): boolean {
  return tlsPortOf(config) !== undefined || (config.brokerUrl !== undefined && config.brokerAuth === 'certificate');
}

/** What may be logged: secrets are replaced. */
export function redacted(config: ControllerConfig): Settings {
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, SECRETS.has(key) ? '(set)' : value]));
}

/** Whether only programs of this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** As OpenTelemetry's specification has it: an address of traces is taken as it is, that of all signals is a base. */
function tracesUrlOf(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  if (environment['OTEL_SDK_DISABLED'] === 'true' || environment['OTEL_TRACES_EXPORTER'] === 'none') return undefined;
  const own = environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (own !== undefined && own !== '') return own;
  const base = environment['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return base === undefined || base === '' ? undefined : `${base.replace(/\/$/, '')}/v1/traces`;
}

function readYaml(file: string): Settings {
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new FleetError('config.invalid', `configuration file ${file} cannot be read: ${messageOf(cause)}`, {
      hint: 'give a YAML file with --config, or leave the option out',
      cause,
    });
  }
  // An empty file sets nothing.
  if (value === null || value === undefined) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Settings;
  throw new FleetError('config.invalid', `configuration file ${file}: expected settings as \`key: value\` lines`, {
    hint: 'for example `httpPort: 8080`',
  });
}

function withoutUndefined(settings: Settings): Settings {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function faultsOf(issue: z.core.$ZodIssue, settings: Settings): readonly string[] {
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(configSchema.shape).join(', ');
    return issue.keys.map((key) => `${key}: unknown setting; known are ${known}`);
  }
  const key = String(issue.path[0] ?? '(top)');
  const value = settings[key];
  const isSecret = SECRETS.has(key) || (typeof value === 'string' && value.includes('@'));
  const got = value === undefined ? 'nothing' : isSecret ? '(hidden)' : JSON.stringify(value);
  const hint = HINTS[key] === undefined ? '' : ` (${HINTS[key]})`;
  return [`${key}: ${issue.message}, got ${got}${hint}`];
}

/** Telemetry is what renews leases: one lost batch must not cost a device its lease. */
function leaseFaults({ leaseMs, telemetryBatchMs }: z.infer<typeof configSchema>): readonly string[] {
  if (leaseMs >= 2 * telemetryBatchMs) return [];
  return [`leaseMs: expected at least twice telemetryBatchMs (${telemetryBatchMs}), got ${leaseMs}`];
}

function brokerFaults({ brokerUrl, brokerAuth }: z.infer<typeof configSchema>): readonly string[] {
  if (brokerAuth === 'password' || brokerUrl?.startsWith('mqtts:') === true) return [];
  const got = brokerUrl === undefined ? 'nothing' : JSON.stringify(brokerUrl);
  return [`brokerUrl: expected an mqtts:// address with brokerAuth certificate, got ${got}`];
}

/** What several controllers have to share cannot lie in the data directory of one. */
function replicaFaults(config: z.infer<typeof configSchema>): readonly string[] {
  const { replica, brokerUrl, brokerAuth, brokerPassword, databaseUrl, host, apiKey } = config;
  if (replica === undefined) return [];
  const faults: readonly (readonly [boolean, string])[] = [
    [brokerUrl === undefined, 'brokerUrl: expected the broker that all replicas share, got nothing'],
    [
      databaseUrl === undefined || !isPostgres(databaseUrl),
      'databaseUrl: expected the postgres: address that all replicas share',
    ],
    [
      brokerAuth === 'certificate',
      'brokerAuth: expected password: replicas have no authority of certificates in common',
    ],
    [brokerPassword === undefined, 'brokerPassword: expected that of all replicas, by FLEETGATE_BROKER_PASSWORD'],
    [apiKey === undefined && !isLoopback(host), 'apiKey: expected that of all replicas, by FLEETGATE_API_KEY'],
  ];
  return faults.flatMap(([isFault, text]) => (isFault ? [text] : []));
}

function databaseFaults(url: unknown): readonly string[] {
  if (typeof url !== 'string' || !/^[a-z][a-z0-9+]*:\/\//i.test(url)) return [];
  if (isPostgres(url) || /^(?:sqlite|file):/i.test(url)) return [];
  const scheme = url.slice(0, url.indexOf(':'));
  return [`databaseUrl: expected a postgres: address or the path of a SQLite file, got a ${scheme}: address`];
}

import { resolve } from 'node:path';

import type { Command } from 'commander';

import { systemClock } from '@fleetgate/shared/clock';
import { startServiceWatchdog } from '@fleetgate/shared/process-service-watchdog';

import { portOption } from './options.js';

interface ControllerOptions {
  readonly data?: string;
  readonly config?: string;
  readonly host?: string;
  readonly httpPort?: number;
  readonly mqttPort?: number;
  readonly mqttsPort?: number;
  readonly plainMqtt?: string;
  readonly approveDevices?: boolean;
  readonly autoPrune?: boolean;
  readonly certificateDays?: number;
  readonly brokerAuth?: string;
  readonly fleetName?: string;
  readonly brokerUrl?: string;
  readonly brokerFiles?: string;
  readonly database?: string;
  readonly replica?: string;
  readonly experts?: string;
  readonly storePrompts?: boolean;
  readonly tracesUrl?: string;
  readonly logLevel?: string;
  readonly json?: boolean;
}

export function registerController(program: Command): void {
  program
    .command('controller')
    .description('run the controller alone: API, dashboard, broker and database')
    .option('--data <dir>', 'where its state is kept (default: .fleetgate/controller)')
    .option('--config <file>', 'YAML file of settings; options given here win over it')
    .option('--host <address>', 'address to listen on; anything but loopback needs an API key')
    .option('--http-port <port>', 'port of the API and the dashboard, 0 for a free one (default: 8080)', portOption)
    .option('--mqtt-port <port>', 'port of the MQTT broker, 0 for a free one (default: 1883)', portOption)
    .option(
      '--mqtts-port <port>',
      'port of MQTT by TLS, 0 for a free one (default: 7000 above the other where other machines reach it)',
      portOption,
    )
    .option('--plain-mqtt <where>', 'MQTT without TLS: loopback, everywhere or off (default: loopback)')
    .option(
      '--auto-prune',
      'roll out by itself what devices can do without of a mixture (`fleetgate experts proposals`)',
    )
    .option('--approve-devices', 'a device that joins waits for `fleetgate devices approve`')
    .option('--certificate-days <days>', 'for how long the certificate of a device is good (default: 30)', Number)
    .option('--fleet-name <name>', 'name of the fleet, part of every MQTT topic (default: home)')
    .option('--broker-url <url>', 'external broker instead of the embedded one: a mosquitto 2')
    .option('--broker-auth <by>', 'what that broker lets devices in by: password or certificate (default: password)')
    .option('--broker-files <dir>', 'where that broker finds who may connect (default: DIR/mosquitto)')
    .option(
      '--database <url>',
      'control database: a SQLite file, or postgres://user@host/name (default: DIR/control.sqlite)',
    )
    .option('--replica <name>', 'name of this controller among several of the fleet; they share database and broker')
    .option('--experts <dir>', 'folder of expert cards (default: the bundled experts)')
    .option('--store-prompts', 'keep prompt texts in the decision records')
    .option('--traces-url <url>', 'where OpenTelemetry traces go, by OTLP over HTTP (default: nowhere)')
    .option('--log-level <level>', 'error, warn, info, debug or silent (default: info)')
    .option('--json', 'print the listening line as one JSON document')
    .addHelpText(
      'after',
      '\nEnvironment: FLEETGATE_API_KEY, FLEETGATE_BROKER_USERNAME, FLEETGATE_BROKER_PASSWORD, FLEETGATE_DATABASE_URL,\nFLEETGATE_REPLICA;\n' +
        "OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables of traces.\n" +
        'Bound to anything but loopback and without a key, it makes one and keeps it in the file api-key of its data directory.',
    )
    .action((options: ControllerOptions) => runController(options));
}

async function runController(options: ControllerOptions): Promise<void> {
  try {
    await serve(options);
  } finally {
    // An IPC channel to a supervisor would keep this process alive, also when it could not start.
    if (process.connected) process.disconnect();
  }
}

async function serve(options: ControllerOptions): Promise<void> {
  // Loaded here: a controller brings Nest and TypeORM, which no other command should wait for.
  const [{ loadConfig }, { startController }, { createLogger }] = await Promise.all([
    import('../config/config.js'),
    import('../main.js'),
    import('@fleetgate/shared/logger'),
  ]);
  const config = loadConfig({
    file: options.config,
    environment: process.env,
    flags: {
      dataDir: options.data === undefined ? undefined : resolve(options.data),
      host: options.host,
      httpPort: options.httpPort,
      mqttPort: options.mqttPort,
      mqttTlsPort: options.mqttsPort,
      mqttPlain: options.plainMqtt,
      approveDevices: options.approveDevices,
      autoPrune: options.autoPrune,
      certificateDays: options.certificateDays,
      brokerAuth: options.brokerAuth,
      fleet: options.fleetName,
      brokerUrl: options.brokerUrl,
      databaseUrl: options.database,
      replica: options.replica,
      brokerFilesDir: options.brokerFiles === undefined ? undefined : resolve(options.brokerFiles),
      expertsDir: options.experts,
      storePrompts: options.storePrompts,
      tracesUrl: options.tracesUrl,
      logLevel: options.logLevel,
    },
    defaults: { dataDir: resolve('.fleetgate/controller') },
  });
  // Asked to end before it has started: what is being opened is closed when it is open.
  const ended = new Promise<void>((done) => {
    process.once('SIGINT', () => done());
    process.once('SIGTERM', () => done());
    // The supervisor that started us is gone.
    process.once('disconnect', () => done());
  });
  const stopWatchdog = startServiceWatchdog(process.env, systemClock, createLogger('controller', config.logLevel));
  const controller = await startController(config);
  const { httpUrl, mqttUrl, mqttTlsUrl, mosquittoConfig } = controller;
  process.send?.({ kind: 'controller-listening', httpUrl, mqttUrl, mqttTlsUrl });
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify({ event: 'listening', api: `${httpUrl}/v1`, dashboard: `${httpUrl}/`, mqtt: mqttUrl, mqtts: mqttTlsUrl, mosquittoConfig })}\n`
      : `listening  dashboard ${httpUrl}/  api ${httpUrl}/v1  mqtt ${mqttUrl}${mqttTlsUrl === undefined ? '' : `  mqtts ${mqttTlsUrl}`}\n${brokerNeeds(mosquittoConfig)}`,
  );
  await ended;
  await controller.stop();
  stopWatchdog();
}

function brokerNeeds(config: string | undefined): string {
  if (config === undefined) return '';
  return `the broker needs these lines in its configuration, and a reload when a device was enrolled or removed:\n${config}`;
}

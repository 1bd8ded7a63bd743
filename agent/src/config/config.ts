import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { z } from 'zod';

import { check } from '@fleetgate/shared/check';
import { deviceIdSchema } from '@fleetgate/shared/ids';

const httpUrl = z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' });

const engineSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('llama'),
    /** Unset: the board's, at most the cores that are there. */
    threads: z.number().int().min(1).max(256).optional(),
    /** Answers of one variant at once, evaluated as one batch; each has a KV cache. */
    sequences: z.number().int().min(1).max(16).default(1),
    gpu: z.enum(['off', 'auto']).default('off'),
  }),
  z.object({
    kind: z.literal('http'),
    baseUrl: httpUrl,
    /** Model name at the server by variant; a variant without one goes by its own name. */
    models: z.record(z.string(), z.string()).default({}),
    apiKey: z.string().min(1).optional(),
  }),
]);

export const agentConfigSchema = z
  .object({
    controllerUrl: httpUrl,
    /** A board id, or `auto` to recognise this machine. */
    board: z.string().min(1),
    name: deviceIdSchema,
    /** This agent's own folder. */
    dataDir: z.string().min(1),
    /** Needed once, for enrolment. Secret. */
    token: z.string().min(1).optional(),
    engine: engineSchema,
    /** PEM file of the ed25519 public keys whose releases this device takes; none: it takes none. */
    releaseKeysFile: z.string().min(1).optional(),
    /** Where artefacts are served to other devices; none: nowhere. */
    seed: z.object({ host: z.string().min(1), port: z.number().int().min(0).max(65_535) }).optional(),
    /** Most bytes of artefacts a second, each way; none: as the line allows. */
    transferBytesPerS: z.number().int().positive().optional(),
    /** Builds of experts without a signature are refused. */
    signedOnly: z.boolean().default(false),
    logLevel: z.enum(['error', 'warn', 'info', 'debug', 'silent']).default('info'),
  })
  .strict();
export type AgentConfig = z.infer<typeof agentConfigSchema>;

/** Parses what the command line and the environment gave. Throws `config.invalid` with every fault. */
export function parseAgentConfig(value: unknown): AgentConfig {
  const config = check<AgentConfig>(agentConfigSchema, value, 'config.invalid', 'agent', {
    hint: 'see fleetgate agent --help',
  });
  return Object.freeze({ ...config, dataDir: resolve(config.dataDir) });
}

/** Folder of an agent that was given none. */
export const defaultDataDir = (name: string): string => `.fleetgate/agents/${name}`;

/** The join token and the engine's key come by environment, so that no process list shows them. */
export function secretsFromEnvironment(): { readonly token?: string; readonly apiKey?: string } {
  const { FLEETGATE_JOIN_TOKEN: token, FLEETGATE_ENGINE_API_KEY: apiKey } = process.env;
  return {
    ...(token === undefined || token === '' ? {} : { token }),
    ...(apiKey === undefined || apiKey === '' ? {} : { apiKey }),
  };
}

/** Termux sets PREFIX. */
export const environmentPrefix = (): string | undefined => process.env['PREFIX'];

/**
 * Folder in which a process that may not set power modes itself asks for one: systemd's RuntimeDirectory of the agent's
 * unit. Undefined: it may (root), or there is no such unit.
 */
export function powerModeRequestFolder(): string | undefined {
  return process.getuid?.() === 0 ? undefined : process.env['RUNTIME_DIRECTORY'];
}

/** Version of this package. */
export function agentVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

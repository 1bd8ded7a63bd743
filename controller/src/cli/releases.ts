import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

import type { ListBody } from '@fleetgate/shared/api/operations';
import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import {
  RELEASE_KINDS,
  type ReleaseKind,
  releaseKeyId,
  releaseManifestSchema,
  type SignedRelease,
  signedReleaseSchema,
  signRelease,
} from '@fleetgate/shared/catalogue/release';
import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type Command, Option } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { countOption } from './options.js';
import { printJson, printLine, printTable, showAge } from './output.js';

interface ReleasesOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface SignOptions {
  readonly key: string;
  readonly kind: ReleaseKind;
  readonly name: string;
  readonly sequence: number;
  readonly revision: string;
  readonly out?: string;
}

export function registerReleases(program: Command): void {
  const releases = program
    .command('releases')
    .description('sign what devices are to take; the controller never has the key');
  withConnection(
    releases.command('list', { isDefault: true }).description('releases that the controller keeps'),
  ).action(list);
  releases
    .command('keygen')
    .description('make an ed25519 key; devices are started with --release-keys FILE.pub')
    .argument('<file>', 'where the key goes; its public half goes to <file>.pub')
    .option('--json', 'print one JSON document')
    .action(keygen);
  releases
    .command('sign')
    .description('sign a file')
    .argument('<file>')
    .requiredOption('--key <file>', 'as `releases keygen` made it; it need not be on the machine of the controller')
    .addOption(new Option('--kind <kind>', 'what it is').choices(RELEASE_KINDS).makeOptionMandatory())
    .requiredOption('--name <name>', 'a variant; a board, whose settings they are; or agent')
    .requiredOption('--sequence <n>', 'above those of earlier releases of this name', countOption)
    .option('--revision <text>', 'for people', '-')
    .option('--out <file>', 'where the signed release goes (default: printed)')
    .action(sign);
  withConnection(
    releases
      .command('add')
      .description('give a signed release to the controller; `rollouts release` brings it to devices')
      .argument('<file>', 'that was signed, on the machine of the controller')
      .argument('<release>', 'as `releases sign` wrote it'),
  ).action(add);
}

async function list(options: ReleasesOptions): Promise<void> {
  const body = await new ApiClient(options).get<ListBody<SignedRelease>>('/api/v1/releases');
  if (options.json === true) return printJson(body);
  if (body.items.length === 0) return printLine('no releases');
  printTable(
    [
      { title: 'kind', value: ({ manifest }) => manifest.kind },
      { title: 'name', value: ({ manifest }) => manifest.name },
      { title: 'number', value: ({ manifest }) => String(manifest.sequence), align: 'right' },
      { title: 'revision', value: ({ manifest }) => manifest.version },
      { title: 'signed', value: ({ manifest }) => showAge(manifest.createdAtMs, Date.now()) },
      { title: 'by key', value: ({ keyId }) => keyId },
    ],
    body.items,
  );
}

function keygen(file: string, options: { readonly json?: boolean }): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  write(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  write(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  const keyId = releaseKeyId(publicKey);
  if (options.json === true) return printJson({ keyId, key: file, publicKey: `${file}.pub` });
  printLine(`key ${keyId} is in ${file}; devices take releases of it that are started with --release-keys ${file}.pub`);
}

async function sign(file: string, options: SignOptions): Promise<void> {
  const { kind, name, sequence, revision: version } = options;
  const sha256 = await sha256OfFile(file);
  const facts = { kind, name, sequence, version, sha256, sizeBytes: statSync(file).size, createdAtMs: Date.now() };
  const manifest = check(releaseManifestSchema, facts, 'usage.invalid', 'release', {
    hint: '`fleetgate releases sign --help`',
  });
  const release = signRelease(manifest, readKey(options.key));
  if (options.out === undefined) printJson(release);
  else write(options.out, `${JSON.stringify(release, undefined, 2)}\n`, 0o644);
}

async function add(file: string, path: string, options: ReleasesOptions): Promise<void> {
  const release = check(signedReleaseSchema, readRelease(path), 'usage.invalid', path, {
    hint: '`fleetgate releases sign` makes one',
  });
  await new ApiClient(options).post('/api/v1/releases', { release, source: resolve(file) });
  const { kind, name, sequence } = release.manifest;
  if (options.json === true) return printJson(release);
  printLine(`added; \`fleetgate rollouts release ${kind} ${name} ${sequence}\` brings it to devices`);
}

function readKey(path: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(path));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw new FleetError('usage.invalid', `--key ${path}: ${messageOf(cause)}`, { cause });
  }
  throw new FleetError('usage.invalid', `--key ${path}: expected an ed25519 key`);
}

function readRelease(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new FleetError('usage.invalid', `${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Never over a file that is there: it may be the only copy of a key. */
function write(path: string, content: string | Buffer, mode: number): void {
  try {
    writeFileSync(path, content, { mode, flag: 'wx' });
  } catch (cause) {
    throw new FleetError('usage.invalid', `${path}: ${messageOf(cause)}`, {
      cause,
      hint: 'name a file that is not there',
    });
  }
}

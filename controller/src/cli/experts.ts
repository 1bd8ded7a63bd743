import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import type {
  ExpertAdditionView,
  ExpertView,
  LearningView,
  ListBody,
  TrialView,
} from '@fleetgate/shared/api/operations';
import { ERROR_KINDS, type ErrorCode, FleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { registerImport } from './experts-import.js';
import { registerProposals } from './experts-proposals.js';
import { registerVariantCommands } from './experts-variants.js';
import { printJson, printLine, printNote, printTable, showBytes, styled } from './output.js';

interface ExpertsOptions extends ConnectOptions {
  readonly json?: boolean;
}
interface AddOptions extends ExpertsOptions {
  readonly name?: string;
  readonly domain?: readonly string[];
}

const POLL_MS = 500;

export function registerExperts(program: Command): void {
  const experts = program.command('experts').description('see and add experts');
  withConnection(experts.command('list', { isDefault: true }).description('all experts and their variants')).action(
    list,
  );
  withConnection(experts.command('show').description('one expert in full').argument('<name>')).action(show);
  withConnection(
    experts
      .command('enrol')
      .description('score an expert anew on labelled prompts, as its devices have time')
      .argument('<name>'),
  ).action(enrol);
  withConnection(
    experts
      .command('add')
      .description('add a model file: it is fetched, checked, measured and from then on planned with')
      .argument('<source>', 'hf:org/repo[:quantisation], the address of a .gguf file, or a .gguf file')
      .option('--name <name>', 'name of the expert (default: from the name of the file)')
      .option('--domain <domain...>', 'what it is good at; none for a generalist'),
  ).action(add);
  registerVariantCommands(experts);
  registerProposals(experts);
  registerImport(experts);
}

async function list(options: ExpertsOptions): Promise<void> {
  const client = new ApiClient(options);
  const body = await client.get<ListBody<ExpertView>>('/api/v1/experts');
  if (options.json === true) return printJson(body);
  const { trials } = await client.get<LearningView>('/api/v1/gate/learning');
  const states = new Map(trials.map((trial) => [trial.expertId, stateText(trial)]));
  printTable(
    [
      { title: 'expert', value: (row) => row.expert.id },
      { title: 'variant', value: (row) => row.variant.id },
      { title: 'state', value: (row) => states.get(row.expert.id) ?? '-' },
      { title: 'domains', value: (row) => row.expert.domains.join(' ') || '(all)' },
      { title: 'model', value: (row) => row.variant.facts.architecture },
      { title: 'parameters', value: (row) => millions(row.variant.facts.parameters), align: 'right' },
      { title: 'size', value: (row) => showBytes(row.variant.sizeBytes), align: 'right' },
      { title: 'memory', value: (row) => showBytes(row.variant.facts.memoryBytes), align: 'right' },
      { title: 'licence', value: (row) => row.expert.licence.spdx },
    ],
    body.items.flatMap((expert) => expert.variants.map((variant) => ({ expert, variant }))),
  );
}

function stateText({ done, of, state }: TrialView): string {
  return state === 'enrolling' ? `enrolling ${done}/${of}` : state;
}

async function show(name: string, options: ExpertsOptions): Promise<void> {
  const expert = await new ApiClient(options).get<ExpertView>(`/api/v1/experts/${encodeURIComponent(name)}`);
  if (options.json === true) return printJson(expert);
  printLine(`${styled('bold', expert.title)} (${expert.id})`);
  printLine(expert.description);
  printLine(`domains  ${expert.domains.join(', ') || 'all'}`);
  printLine(`licence  ${expert.licence.spdx}`);
  for (const { what, source, licence } of expert.origin) printLine(`origin   ${what}: ${source} (${licence})`);
  for (const [domain, bits] of Object.entries(expert.bitsPerByte))
    printLine(`measured ${domain}: ${bits} bits per byte`);
  for (const { id, sizeBytes, sha256, facts, made } of expert.variants) {
    printLine(
      `variant  ${id}: ${facts.architecture}, ${millions(facts.parameters)} parameters, ${facts.quantisation}, ` +
        `${showBytes(sizeBytes)}, context ${facts.contextTokens}` +
        (facts.slabsPerLayer > 0 ? `, ${facts.slabsPerToken} of ${facts.slabsPerLayer} slabs per layer` : ''),
    );
    printLine(`         sha256 ${sha256}`);
    if (made !== undefined) printLine(`         of ${made.from}: ${made.how}${lossText(made.loss)}`);
  }
}

function lossText(loss: Readonly<Record<string, number>>): string {
  const parts = Object.entries(loss).map(([domain, bits]) => `${domain} ${bits >= 0 ? '+' : ''}${bits.toFixed(3)}`);
  return parts.length === 0 ? '' : `; bits per byte ${parts.join(', ')}`;
}

async function enrol(name: string, options: ExpertsOptions): Promise<void> {
  const view = await new ApiClient(options).post<TrialView>(`/api/v1/experts/${encodeURIComponent(name)}/enrol`, {});
  if (options.json === true) return printJson(view);
  printLine(`${view.expertId}: ${view.state}, ${view.done} of ${view.of} labelled prompts scored`);
  if (view.reason !== null) printNote(view.reason);
}

async function add(source: string, options: AddOptions): Promise<void> {
  const client = new ApiClient(options);
  let view = await client.post<ExpertAdditionView>('/api/v1/experts', {
    source: localFile(source),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.domain === undefined ? {} : { domains: options.domain }),
  });
  const show = progressPrinter();
  for (;;) {
    show(view);
    if (view.progress.state === 'ready') break;
    if (view.progress.state === 'failed') throw failure(view.progress.error);
    await new Promise((done) => setTimeout(done, POLL_MS));
    view = await client.get<ExpertAdditionView>(`/api/v1/experts/${encodeURIComponent(view.id)}/addition`);
  }
  const { expert } = view.progress;
  if (options.json === true) return printJson(expert);
  printLine(`added ${expert.id} (${expert.variants.map(({ id }) => id).join(', ')}), licence ${expert.licence.spdx}`);
  if (expert.licence.spdx === 'NOASSERTION') printNote('its licence is not known: look before you use it');
}

/** The controller reads files by their full path; it has to run on this machine for that. */
function localFile(source: string): string {
  if (/^(?:hf:|https?:|hf\.co\/|huggingface\.co\/)/.test(source)) return source;
  const path = resolve(source);
  if (existsSync(path)) return path;
  throw new FleetError('usage.invalid', `${source}: there is no such file`, {
    hint: 'expected a .gguf file, an http(s) address of one, or hf:org/repo:quantisation',
  });
}

function progressPrinter(): (view: ExpertAdditionView) => void {
  let told = '';
  const tell = (text: string): void => {
    if (text === told) return;
    told = text;
    printNote(text);
  };
  return ({ progress, licence, id }) => {
    if (progress.state !== 'fetching') {
      if (progress.state === 'resolving' || progress.state === 'checking') tell(`${id}: ${progress.state}`);
      return;
    }
    const { doneBytes, totalBytes } = progress;
    const share =
      totalBytes === null ? '' : ` of ${showBytes(totalBytes)} (${Math.floor((100 * doneBytes) / totalBytes)} %)`;
    tell(`${id}: fetched ${showBytes(doneBytes)}${share}${licence === null ? '' : `, licence ${licence}`}`);
  };
}

function failure(error: { readonly code: string; readonly message: string; readonly hint?: string }): FleetError {
  const code = Object.hasOwn(ERROR_KINDS, error.code) ? (error.code as ErrorCode) : 'internal.invariant';
  return new FleetError(code, error.message, error.hint === undefined ? {} : { hint: error.hint });
}

function millions(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} B` : `${(count / 1e6).toFixed(1)} M`;
}

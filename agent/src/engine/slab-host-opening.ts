import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { evaluationBytes, memoryParts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { servedMemory } from '@fleetgate/shared/catalogue/serving';
import { type SlabMask, slabsKept } from '@fleetgate/shared/catalogue/slab-mask';

import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import type { LlamaLibrary } from '../native/llama-library.js';
import { prepareSlabs, type PreparedSlabs } from '../residency/linux-residency.js';
import { readResidencyFacts, type ServedSlabs } from '../residency/linux-residency-facts.js';
import { chooseResidency, OFFLOADED_BATCH_TOKENS, type ResidencyChoice } from '../residency/residency-choice.js';
import type { KeepSets } from '../slabs/routing.js';
import { RoutingHeat } from '../slabs/routing-heat.js';
import type { ServedTasks } from '../slabs/task-patterns.js';
import type { ChildOptions } from './child-message.js';
import type { EngineModel } from './engine.js';
import type { SignsOfLife } from './engine-child.js';
import { cancelled } from './llama-failure.js';
import { mostOutputs } from './logits.js';
import { checkCanary, canaryOf } from './slab-canary.js';
import { SlabModel } from './slab-model.js';
import { SlabModelHost } from './slab-model-host.js';
import { openTasks } from './slab-task-opening.js';
import { SlabTasks } from './slab-tasks.js';
import { SlabVocabulary } from './slab-vocabulary.js';

/** Tokens of one evaluation at most: between two of them a call can be aborted and is seen to get on. */
const BATCH_TOKENS = 256;
/** Between two signs of life of an evaluation that waits for storage. */
const SIGN_PERIOD_MS = 1000;

type Kept = Exclude<ResidencyChoice, { readonly strategy: 'refused' }>;

/**
 * Loads a model for the slab-aware engine. Throws `gguf.malformed`, `gguf.unsupported`, `artefact.unavailable`,
 * what `openTasks` throws, `engine.out-of-memory` for a budget that not even one token can be computed with, `engine.unavailable` where this system
 * cannot keep slabs as asked or does not compute with them what it should, and `job.cancelled`.
 */
export async function openSlabHost(
  library: LlamaLibrary,
  model: EngineModel,
  { threads, sequences }: Pick<ChildOptions, 'threads' | 'sequences'>,
  { onProgress, onWaiting }: SignsOfLife,
  signal: AbortSignal,
): Promise<SlabModelHost> {
  const slowly = onceIn(SIGN_PERIOD_MS, onWaiting);
  const header = await readGguf(model.path);
  const layout = slabLayout(header, model.path);
  const memory = memoryParts(header, model.contextTokens, sequences, model.path);
  const bytesOf = evaluationBytes(header, model.path);
  const outputs = outputsOf(header);
  const choice = await choose(model, layout, {
    wishTokens: Math.min(isOffloaded(model, layout) ? OFFLOADED_BATCH_TOKENS : BATCH_TOKENS, model.contextTokens),
    contextBytes: memory.context,
    plannedEvaluationBytes: memory.evaluation,
    evaluationBytes: (tokens) => bytesOf(tokens, Math.min(tokens, outputs)),
  });
  const isByTask = choice.strategy !== 'none' || model.serving?.taskMask !== undefined;
  const tasks = layout === undefined || !isByTask ? undefined : await openTasks(header, layout, model);
  const served = typeof tasks === 'string' ? undefined : tasks;
  const prepared = await prepare(model, layout, choice, served, slowly);
  if (signal.aborted) throw cancelled(`loading ${model.variantId}`);
  const slabModel = SlabModel.open(library, {
    path: prepared?.loadPath ?? model.path,
    layout,
    contextTokens: model.contextTokens,
    sequences,
    threads,
    batchTokens: choice.batchTokens,
    mostOutputs: Math.min(choice.batchTokens, outputs),
    slabsPerToken: model.serving?.slabsPerToken,
    kept: keptSlabs(model, layout),
  });
  try {
    slabModel.onLayer = slowly;
    if (model.adapters !== undefined && model.adapters.length > 0) slabModel.adapt(model.adapters);
    onProgress();
    const reason = await attach(slabModel, prepared, layout, choice, onProgress);
    // What the canary used is of no meaning to any task.
    if (served !== undefined) slabModel.residency?.expect?.(served.expected, choice.budgetBytes);
    const heat = layout === undefined ? undefined : new RoutingHeat(layout.layers.length, layout.slabsPerLayer);
    slabModel.heat = heat;
    return new SlabModelHost({
      library,
      model,
      slabModel,
      vocabulary: new SlabVocabulary(library, slabModel.vocab, header),
      sequences,
      residency: { strategy: choice.strategy, reason: `${reason}${byTask(tasks, model)}` },
      heat,
      maskOf: (mask) => keepSetsOf(mask, model, layout),
      tasks: layout === undefined || served === undefined ? undefined : slabTasks(served, layout, model),
      accountedBytes:
        choice.strategy === 'cache' ? servedMemory(memory.total, layout?.slabsBytes ?? 0, model.serving) : memory.total,
      onProgress,
    });
  } catch (error) {
    slabModel.close();
    throw error;
  }
}

function outputsOf(header: GgufHeader): number {
  const vocabulary = header.metadata.get('tokenizer.ggml.tokens')?.value;
  return mostOutputs(typeof vocabulary === 'object' ? vocabulary.length : 1);
}

/** Needs of a context, and what it is to be able to evaluate at once. */
type ContextNeeds = Omit<ServedSlabs, 'path' | 'layout' | 'slabBudgetBytes'> & { readonly wishTokens: number };

function isOffloaded({ serving }: EngineModel, layout: SlabLayout | undefined): boolean {
  return (serving?.slabBudgetBytes ?? Infinity) < (layout?.slabsBytes ?? 0);
}

async function choose(
  { path, serving }: EngineModel,
  layout: SlabLayout | undefined,
  { wishTokens, ...needs }: ContextNeeds,
): Promise<Kept> {
  const slabBudgetBytes = serving?.slabBudgetBytes;
  if (layout === undefined || slabBudgetBytes === undefined || slabBudgetBytes >= layout.slabsBytes) {
    return {
      strategy: 'none',
      budgetBytes: 0,
      budgetOf: () => 0,
      batchTokens: wishTokens,
      populate: false,
      reason: 'all slabs are in memory',
    };
  }
  const facts = await readResidencyFacts({ path, layout, slabBudgetBytes, ...needs });
  const choice = chooseResidency(facts, wishTokens);
  if (choice.strategy !== 'refused') return choice;
  throw new FleetError('engine.out-of-memory', `${path}: ${choice.reason}`, {
    hint: 'give it a larger budget of slabs, or a smaller build of the model',
  });
}

async function prepare(
  { path }: EngineModel,
  layout: SlabLayout | undefined,
  { strategy, budgetBytes, budgetOf, populate }: Kept,
  tasks: ServedTasks | undefined,
  onWaiting: () => void,
): Promise<PreparedSlabs | undefined> {
  if (layout === undefined || strategy === 'none') return undefined;
  const seed = tasks === undefined ? {} : { frequencies: tasks.expected };
  return prepareSlabs({ path, layout, strategy, budgetBytes, budgetOf, populate, onWaiting, ...seed });
}

/** For people; empty where nothing is to be said. */
function byTask(tasks: ServedTasks | string | undefined, { serving }: EngineModel): string {
  if (typeof tasks === 'string') return `; its profile is not used: ${tasks}`;
  const { taskMask, slabMask } = serving ?? {};
  if (taskMask !== undefined) return `; answers use ${taskMask.keep} slabs of each layer, those of their task`;
  if (slabMask === undefined) return '';
  const kept = slabsKept(slabMask).map((slabs) => slabs.length);
  return `; answers use ${Math.min(...kept)} to ${Math.max(...kept)} slabs of each layer`;
}

/** Throws `gguf.unsupported` for a mask that is none of this model. */
function keptSlabs(model: EngineModel, layout: SlabLayout | undefined): KeepSets | undefined {
  const slabMask = model.serving?.slabMask;
  return slabMask === undefined ? undefined : keepSetsOf(slabMask, model, layout);
}

function keepSetsOf(mask: SlabMask, { path, serving }: EngineModel, layout: SlabLayout | undefined): KeepSets {
  const kept = slabsKept(mask);
  const { layers = [], slabsPerLayer = 0, slabsPerToken = 0, groups = 1 } = layout ?? {};
  const inGroup = (slabs: readonly number[], group: number) =>
    slabs.filter((slab) => Math.floor((slab * groups) / slabsPerLayer) === group).length;
  const isOfModel =
    kept.length === layers.length &&
    kept.every(
      (slabs) =>
        slabs.length >= (serving?.slabsPerToken ?? slabsPerToken) &&
        (slabs.at(-1) ?? 0) < slabsPerLayer &&
        Array.from({ length: groups }, (_, group) => inGroup(slabs, group)).every((n) => n === slabs.length / groups),
    );
  if (isOfModel) return kept;
  throw new FleetError('gguf.unsupported', `${path}: the mask of slabs is of another model`, {
    hint: `expected ${layers.length} layers with ${slabsPerToken} to ${slabsPerLayer} slabs, as many in each of ${groups} groups`,
  });
}

function slabTasks(served: ServedTasks, layout: SlabLayout, { contextTokens, serving }: EngineModel): SlabTasks {
  const { layers, slabsPerLayer, slabsPerToken, slabsBytes } = layout;
  return new SlabTasks(served, {
    layers: layers.length,
    slabsPerLayer,
    slabsPerToken: serving?.slabsPerToken ?? slabsPerToken,
    contextTokens,
    budgetBytes: serving?.slabBudgetBytes ?? slabsBytes,
  });
}

/** Calls at most once in a time, ms. */
function onceIn(periodMs: number, call: () => void): () => void {
  let last = performance.now();
  return () => {
    const now = performance.now();
    if (now - last < periodMs) return;
    last = now;
    call();
  };
}

/** Puts the residency in its place; why it is this one, for people. */
async function attach(
  slabModel: SlabModel,
  prepared: PreparedSlabs | undefined,
  layout: SlabLayout | undefined,
  { strategy, reason }: Kept,
  onProgress: () => void,
): Promise<string> {
  if (prepared === undefined || layout === undefined) return reason;
  if (strategy === 'hint') {
    slabModel.residency = await prepared.attach();
    return reason;
  }
  // The same tokens, once by the file's own pages and once by what we put in their place: not a bit may differ.
  const hint = await prepared.attach('hint');
  slabModel.residency = hint;
  const expected = canaryOf(slabModel, layout);
  onProgress();
  hint.close();
  slabModel.residency = await prepared.attach();
  checkCanary(slabModel, layout, expected);
  onProgress();
  return prepared.wholeLoad === undefined ? reason : `${reason}; loading read the whole file (${prepared.wholeLoad})`;
}

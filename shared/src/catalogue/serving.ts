import { z } from 'zod';

import { sha256Schema } from './sha256.js';
import { slabMaskSchema } from './slab-mask.js';

/** Adapters of one variant, at most. */
export const MOST_ADAPTERS = 8;

/** A low-rank change of a model's weights (LoRA), in a GGUF file of its own. */
export const adapterSchema = z.object({
  sha256: sha256Schema,
  sizeBytes: z.number().int().positive(),
  /** 1: as it was trained; 0: not at all. */
  scale: z.number(),
});
export type ServedAdapter = z.infer<typeof adapterSchema>;

/**
 * How a file is served, where that is not "all of it in memory, as many slabs a token as it says, its own weights".
 * One file with two ways of serving makes two variants. All but `adapters` is for mixtures of experts.
 */
export const servingSchema = z.object({
  /** Bytes of slabs in memory at once; the others are read from storage as they are routed to. Absent: all slabs. */
  slabBudgetBytes: z.number().int().positive().optional(),
  /** Active slabs per token, fewer than the file's own (elastic k). Absent: the file's. */
  slabsPerToken: z.number().int().positive().optional(),
  /**
   * How far the device may lower the active slabs per token by itself, under heat, low battery or a tight energy budget.
   * Absent: not at all.
   */
  leastSlabsPerToken: z.number().int().positive().optional(),
  /**
   * Answers are computed with the slabs of the task that a prompt is of (TAER; PreMoe, arXiv 2505.17639), `keep` of each
   * layer, where the file brings a profile along and the prompt is like one of its tasks; else with all of them. Loses
   * quality, as `gguf mask-eval` measures. Absent: with all.
   */
  taskMask: z.object({ keep: z.number().int().positive() }).optional(),
  /** Answers are computed with these slabs alone, whatever the prompt (pruned, without a file of its own). Absent: with all. */
  slabMask: slabMaskSchema.optional(),
  /** Task of the file's profile, several joined by +, whose slabs are in memory first. Absent: those of all tasks. */
  task: z.string().min(1).max(200).optional(),
  /** Laid over the weights, in this order. Absent: the weights as they are. */
  adapters: z.array(adapterSchema).min(1).max(MOST_ADAPTERS).optional(),
});
export type Serving = z.infer<typeof servingSchema>;

/** Memory of a model of which only a budget of slabs is in memory, bytes. `wholeBytes`: with all of its `slabsBytes`. */
export function servedMemory(wholeBytes: number, slabsBytes: number, serving: Serving | undefined): number {
  return wholeBytes - Math.max(0, slabsBytes - (serving?.slabBudgetBytes ?? Infinity));
}

/** Bytes of a variant's adapters: what it takes in memory beside its file's weights. */
export function adapterBytesOf(serving: Serving | undefined): number {
  return (serving?.adapters ?? []).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** The files that a variant is served from: its own, then those of its adapters. */
export function filesOf({ sha256, sizeBytes, serving }: Build & { readonly sizeBytes: number }): readonly {
  readonly sha256: string;
  readonly sizeBytes: number;
}[] {
  return [{ sha256, sizeBytes }, ...(serving?.adapters ?? [])];
}

/** What a device measures: a file, served in a way. */
export interface Build {
  readonly sha256: string;
  readonly serving?: Serving | undefined;
}

/**
 * Equal for builds whose speed and memory are the same on one device: what a device may do by itself
 * (`leastSlabsPerToken`), and what is in memory first (`task`), makes no other build. For a file served as it is, its sha256.
 */
export function buildKey({ sha256, serving }: Build): string {
  const { slabBudgetBytes, slabsPerToken, taskMask, slabMask, adapters = [] } = serving ?? {};
  const parts = [
    ...(slabBudgetBytes === undefined ? [] : [`slabs ${slabBudgetBytes} B`]),
    ...(slabsPerToken === undefined ? [] : [`k ${slabsPerToken}`]),
    ...(taskMask === undefined ? [] : [`task mask ${taskMask.keep}`]),
    ...(slabMask === undefined ? [] : [`slab mask ${slabMask.join(' ')}`]),
    ...adapters.map((adapter) => `adapter ${adapter.sha256} x ${adapter.scale}`),
  ];
  return [sha256, ...parts].join(' ');
}

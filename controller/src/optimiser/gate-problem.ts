import { z } from 'zod';

const gateBase = {
  schema: z.literal('fleet-opt/1'),
  name: z.string().default(''),
  experts: z.number().int().positive().max(1000),
  classes: z.number().int().positive(),
  /** By class. */
  weight: z.array(z.number().nonnegative()),
  /** By expert, then class; 0: the expert does not serve the class. */
  quality: z.array(z.array(z.number().nonnegative())),
  /** By resource, then expert. */
  resources: z.array(z.array(z.number().nonnegative())),
  /** By resource. */
  budget: z.array(z.number().nonnegative()),
  maxExperts: z.number().int().nonnegative().nullable().default(null),
  minReplicas: z.number().int().nonnegative().optional(),
};

/** Which experts to ask at all: the expert-subset problem of MoE^2 (kinds `gate` and `softgate` of `fleet-opt/1`). */
export const gateProblemSchema = z
  .discriminatedUnion('kind', [
    /** Each class goes to its best expert of the subset. */
    z.object({ ...gateBase, kind: z.literal('gate') }),
    /** Softmax over the `topk` largest logits of the subset; not monotone in the subset. */
    z.object({
      ...gateBase,
      kind: z.literal('softgate'),
      logit: z.array(z.array(z.number())),
      topk: z.number().int().positive().nullish(),
    }),
  ])
  .superRefine((problem, context) => {
    const size = (path: string, got: number, expected: number) => {
      if (got !== expected)
        context.addIssue({ code: 'custom', path: [path], message: `expected ${expected} entries, got ${got}` });
    };
    const rows = (path: string, table: readonly (readonly number[])[], height: number, width: number) => {
      size(path, table.length, height);
      table.forEach((row, i) => size(`${path}.${i}`, row.length, width));
    };
    size('weight', problem.weight.length, problem.classes);
    rows('quality', problem.quality, problem.experts, problem.classes);
    rows('resources', problem.resources, problem.budget.length, problem.experts);
    if (problem.kind === 'softgate') rows('logit', problem.logit, problem.experts, problem.classes);
  });
export type GateProblem = z.infer<typeof gateProblemSchema>;

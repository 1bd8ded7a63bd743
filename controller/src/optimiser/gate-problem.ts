import { z } from 'zod';

/** Products and sums of what is allowed stay far from overflow, and differences above rounding. */
const amount = z.number().nonnegative().max(1e12);

const gateBase = {
  schema: z.literal('fleet-opt/1'),
  name: z.string().default(''),
  experts: z.number().int().positive().max(1000),
  classes: z.number().int().positive().max(10_000),
  /** By class. */
  weight: z.array(amount),
  /** By expert, then class; 0: the expert does not serve the class. */
  quality: z.array(z.array(amount)),
  /** By resource, then expert. */
  resources: z.array(z.array(amount)),
  /** By resource. */
  budget: z.array(amount),
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
      logit: z.array(z.array(z.number().min(-1e6).max(1e6))),
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

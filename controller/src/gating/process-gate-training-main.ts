/** The process that `trainGateInProcess` starts, with its task as JSON in the first argument. */
import { type ErrorCode, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { fileSha256, writeGateFile } from './disk-gate-store.js';
import { readOutcomes } from './disk-outcomes.js';
import { GateTrainer } from './train-gate.js';

export interface TrainingTask {
  readonly outcomesPath: string;
  readonly gatePath: string;
  readonly seed: number;
}

export type TrainingReport =
  | { readonly kind: 'progress'; readonly step: string; readonly done: number }
  | { readonly kind: 'done'; readonly peakBytes: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined };

function report(message: TrainingReport): void {
  if (process.connected) process.send?.(message);
}

async function train({ outcomesPath, gatePath, seed }: TrainingTask): Promise<void> {
  const outcomesSha256 = await fileSha256(outcomesPath);
  const trainer = new GateTrainer({
    seed,
    ...(outcomesSha256 === undefined ? {} : { outcomesSha256 }),
    onProgress: (step, done) => report({ kind: 'progress', step, done }),
  });
  for await (const outcome of readOutcomes(outcomesPath)) trainer.add(outcome);
  await writeGateFile(gatePath, trainer.train());
}

process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole process group; whoever asked for the training decides when it ends.
process.on('SIGINT', () => {});
try {
  await train(JSON.parse(process.argv[2] ?? '') as TrainingTask);
  report({ kind: 'done', peakBytes: 1024 * process.resourceUsage().maxRSS });
} catch (error) {
  report({
    kind: 'failed',
    code: isFleetError(error) ? error.code : 'internal.invariant',
    message: messageOf(error),
    hint: isFleetError(error) ? error.hint : undefined,
  });
}

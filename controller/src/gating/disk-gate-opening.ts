import type { Logger } from '@fleetgate/shared/logger';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';

import { DiskGateStore, fileSha256 } from './disk-gate-store.js';
import type { GateModel } from './gate-model.js';
import type { Gate } from './gate.js';
import { gateOf } from './linear-gate.js';
import type { LiveGate } from './live-gate.js';
import { trainGateInProcess } from './process-gate-training.js';
import { selfTest } from './self-test.js';

export interface GateFiles {
  /** The controller's gate file; made when it is missing, unusable or of other outcomes. */
  readonly gatePath: string;
  /** Measured outcomes to train on; without the file the gate stays as it is. */
  readonly outcomesPath: string;
}

/**
 * Brings `live` into use: at once from the stored gate file, else by training from the outcomes (seconds, in
 * another process).
 *
 * A stored gate of other outcomes is used until its successor is trained. Resolves when the gate is as good as the files
 * allow; a failure to train is logged, leaves `live` scoring as before, and is not thrown. Aborting ends the training.
 */
export async function openGate(live: LiveGate, files: GateFiles, logger: Logger, signal: AbortSignal): Promise<void> {
  const store = new DiskGateStore(files.gatePath);
  const stored = await store.load((error) =>
    logger.warn('gate.set-aside', { code: error.code, reason: error.message }),
  );
  const current = stored !== undefined && putInUse(live, stored, logger) === undefined;
  const outcomesSha256 = await fileSha256(files.outcomesPath);
  if (outcomesSha256 === undefined) {
    if (!current) {
      logger.warn('gate.untrained', { reason: `no outcome file ${files.outcomesPath}` });
      live.abandonTraining('there are no outcomes to train a gate on');
    }
    return;
  }
  if (current && stored.outcomesSha256 === outcomesSha256) return;
  live.startTraining();
  try {
    const model = await trainGateInProcess({ ...files, signal });
    const fault = putInUse(live, model, logger);
    if (fault !== undefined) live.abandonTraining(fault);
  } catch (error) {
    live.abandonTraining(`training failed: ${messageOf(error)}`);
    if (isFleetError(error, 'job.cancelled')) return;
    logger.error('gate.training-failed', { reason: messageOf(error), outcomes: files.outcomesPath });
  }
}

/**
 * Undefined once `model` scores; otherwise why it does not. One that does not reproduce its own predictions here leaves
 * `live` degraded: what its experts are in general is read, not computed, and still holds.
 */
function putInUse(live: LiveGate, model: GateModel, logger: Logger): string | undefined {
  let gate: Gate;
  try {
    gate = gateOf(model);
  } catch (error) {
    if (!isFleetError(error, 'gate.invalid-model')) throw error;
    logger.warn('gate.unusable', { reason: error.message });
    return error.message;
  }
  const fault = selfTest(model);
  if (fault !== undefined) {
    logger.error('gate.self-test-failed', { reason: fault });
    live.degrade(`self-test failed: ${fault}`, gate);
    return fault;
  }
  live.replace(gate);
  logger.info('gate.ready', {
    experts: model.experts.length,
    classes: model.classes.length,
    trainedOn: model.trainedOn,
  });
  return undefined;
}

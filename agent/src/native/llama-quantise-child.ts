/**
 * The process in which llama.cpp quantises one file: the call blocks, takes memory, and cannot be stopped but by ending
 * its process. It is sent the request, answers over IPC (`FromErrand` of `variants/process-errand.ts`), and ends.
 */
import { isFleetError, messageOf } from '@fleetgate/shared/errors';

import { openQuantiser, type QuantiseRequest } from './llama-quantise.js';

function send(message: object): void {
  if (process.connected) process.send?.(message);
}

async function quantise(request: QuantiseRequest): Promise<void> {
  try {
    const quantiser = await openQuantiser();
    quantiser.run(request, (done, total) => send({ kind: 'progress', done, total }));
    send({ kind: 'done', result: quantiser.version });
  } catch (error) {
    const hint = isFleetError(error) ? error.hint : undefined;
    const code = isFleetError(error) ? error.code : 'engine.crashed';
    send({ kind: 'failed', error: { code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) } });
  }
  process.disconnect?.();
}

// Without a parent there is nobody who wants the file.
process.on('disconnect', () => process.exit(0));
process.once('message', (request) => void quantise(request as QuantiseRequest));

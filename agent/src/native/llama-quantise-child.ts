/**
 * The process in which llama.cpp quantises one file: the call blocks, takes memory, and cannot be stopped but by ending
 * its process. Its first argument is the request (JSON); it answers over IPC and ends.
 */
import { type ErrorCode, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { openQuantiser, type QuantiseRequest } from './llama-quantise.js';

/** Child to parent; the last one is `done` or `failed`. */
export type FromQuantiser =
  | { readonly kind: 'tensor'; readonly tensor: number; readonly tensors: number }
  | { readonly kind: 'done'; readonly version: string }
  | {
      readonly kind: 'failed';
      readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
    };

function send(message: FromQuantiser): void {
  if (process.connected) process.send?.(message);
}

async function quantise(): Promise<void> {
  try {
    const quantiser = await openQuantiser();
    const request = JSON.parse(process.argv[2] ?? '') as QuantiseRequest;
    quantiser.run(request, (tensor, tensors) => send({ kind: 'tensor', tensor, tensors }));
    send({ kind: 'done', version: quantiser.version });
  } catch (error) {
    const hint = isFleetError(error) ? error.hint : undefined;
    const code = isFleetError(error) ? error.code : 'engine.crashed';
    send({ kind: 'failed', error: { code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) } });
  }
}

// Without a parent there is nobody who wants the file.
process.on('disconnect', () => process.exit(0));
await quantise();
process.disconnect?.();

import { FleetError } from '@fleetgate/shared/errors';

/** The vector of length 1 in that direction. Throws `engine.crashed` for what has none: zeros, or what is no number. */
export function unitVector(values: Iterable<number>): readonly number[] {
  const vector = [...values];
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (!(length > 0 && length < Infinity)) {
    throw new FleetError('engine.crashed', `a vector of ${vector.length} numbers has length ${length}`, {
      hint: 'the model may be damaged: compare its sha256',
    });
  }
  return vector.map((value) => value / length);
}

/** Refuses a text of more tokens than the context. */
export function checkEmbedded(tokens: number, contextTokens: number, at: number): void {
  if (tokens < contextTokens) return;
  throw new FleetError(
    'request.invalid',
    `text ${at} has ${tokens} tokens, expected fewer than the ${contextTokens} of the context`,
    { hint: 'cut it into parts, or ask a model with a longer context' },
  );
}

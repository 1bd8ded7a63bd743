import type { MetadataValue } from './assembly.js';

/** Tokens of every synthetic model. */
export const SYNTH_VOCABULARY = 2048;

/** Metadata of a small vocabulary of sentence pieces: bytes, letters, pairs of letters. */
export function synthVocabulary(): readonly (readonly [string, MetadataValue])[] {
  const tokens = ['<unk>', '<s>', '</s>'];
  const types = [2, 3, 3];
  const scores = [0, 0, 0];
  const add = (token: string, score: number, type = 1): void => {
    tokens.push(token);
    types.push(type);
    scores.push(score);
  };
  for (let byte = 0; byte < 256; byte++) add(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 0, 6);
  for (let code = 33; code < 127; code++) add(String.fromCharCode(code), -2000);
  add('\u2581', -2000);
  const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
  let rank = 0;
  for (const a of letters) add(`\u2581${a}`, -rank++);
  for (const a of letters) for (const b of letters) add(a + b, -100 - rank++);
  for (const a of letters) for (const b of letters) add(`\u2581${a}${b}`, -30 - rank++);
  while (tokens.length < SYNTH_VOCABULARY) add(`zz${tokens.length}`, -5000);
  return [
    ['tokenizer.ggml.model', 'llama'],
    ['tokenizer.ggml.pre', 'default'],
    ['tokenizer.ggml.tokens', { texts: tokens }],
    ['tokenizer.ggml.scores', { float32: scores }],
    ['tokenizer.ggml.token_type', { int32: types }],
    ['tokenizer.ggml.bos_token_id', { uint32: 1 }],
    ['tokenizer.ggml.eos_token_id', { uint32: 2 }],
    ['tokenizer.ggml.unknown_token_id', { uint32: 0 }],
    ['tokenizer.ggml.add_bos_token', true],
  ];
}

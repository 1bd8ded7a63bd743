import { bytesByName } from './outcome-gate-problem.js';

/** Active parameters, in billions, of public models whose names do not tell it exactly; from their model cards. */
const PUBLISHED: Readonly<Record<string, number>> = {
  'codegemma-7b': 8.54,
  'gemma-2-2b-it': 2.61,
  'gemma-2-9b-it': 9.24,
  'gemma-2-27b-it': 27.2,
  'llama-3.1-8b-instruct': 8.03,
  'llama-3.1-nemotron-51b-instruct': 51.5,
  'llama-3.3-nemotron-super-49b-v1': 49.9,
  'llama3-chatqa-1.5-8b': 8.03,
  'llama3-chatqa-1.5-70b': 70.6,
  'meta-llama-3-8b-instruct': 8.03,
  'meta-llama-3-70b-instruct': 70.6,
  'meta-llama-3.1-8b-instruct': 8.03,
  'meta-llama-3.1-70b-instruct': 70.6,
  'mistral-7b-instruct-v0.3': 7.25,
  'mistral-large-2': 123,
  'phi-3.5-mini-instruct': 3.82,
  'qwen2-7b-instruct': 7.62,
  'qwen2-72b-instruct': 72.7,
  'qwen2.5-7b-instruct': 7.62,
  'yi-1.5-9b-chat': 8.83,
  'yi-1.5-34b-chat': 34.4,
  'athene-70b': 70.6,
};

/** Billions of parameters that a model reads for each token; from its name (`-7b`) where it is not known. Undefined for neither. */
export function billionParameters(model: string): number | undefined {
  const known = PUBLISHED[model.toLowerCase()];
  if (known !== undefined) return known;
  const bytes = bytesByName(model);
  return bytes === undefined ? undefined : bytes / 1e9;
}

/** The models that can be asked for, sorted for a select. Pure. */
import type { ExpertView } from '@fleetgate/shared/api/operations';

export interface ModelGroup {
  readonly title: string;
  readonly ids: readonly string[];
}

/** Ids that are neither an expert nor a variant are the fleet's own ways to choose; `auto` is always among them. */
export function groupModels(ids: readonly string[], experts: readonly ExpertView[]): readonly ModelGroup[] {
  const expertIds = new Set<string>(experts.map((expert) => expert.id));
  const variantIds = new Set<string>(experts.flatMap((expert) => expert.variants.map((variant) => variant.id)));
  const fleet = ids.filter((id) => id !== 'auto' && !expertIds.has(id) && !variantIds.has(id));
  return [
    { title: 'The fleet chooses', ids: ['auto', ...fleet] },
    { title: 'One expert', ids: ids.filter((id) => expertIds.has(id)) },
    { title: 'One build', ids: ids.filter((id) => variantIds.has(id) && !expertIds.has(id)) },
  ].filter((group) => group.ids.length > 0);
}

const SAMPLES: Readonly<Record<string, string>> = {
  math: 'Tom has 12 apples and gives 5 of them to Anna. How many does he have left?',
  code: 'Write a function that returns the sum of a list of numbers.',
  medical: 'What are common signs of dehydration?',
  finance: 'What is the difference between a stock and a bond?',
  story: 'Tell a short story about a dog who finds a red ball.',
  dialogue: 'Hi! How was your day?',
};

/** Prompts to begin with, one for each domain that the catalogue serves; a general one when it names none we know. */
export function samplePrompts(experts: readonly ExpertView[]): readonly string[] {
  const domains = new Set(experts.flatMap((expert) => [expert.id as string, ...expert.domains]));
  const found = Object.entries(SAMPLES).filter(([domain]) => domains.has(domain));
  return found.length > 0 ? found.slice(0, 4).map(([, prompt]) => prompt) : ['What can you do?'];
}

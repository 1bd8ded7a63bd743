import type { ExpertFolder } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError } from '@fleetgate/shared/errors';
import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';

import { ENSEMBLE } from './outcome-sample.js';

/** Names of the experts that answer together. `wanted`: names with commas, true for all. Throws `outcomes.invalid` where they cannot. */
export async function ensembleOf(folders: readonly ExpertFolder[], wanted: string | true): Promise<readonly string[]> {
  const names = wanted === true ? folders.map(({ card }) => card.name) : wanted.split(',').map((name) => name.trim());
  const members: { readonly name: string; readonly tokenizer: string | undefined }[] = [];
  for (const name of names) {
    const folder = folders.find(({ card }) => card.name === name);
    const path = folder === undefined ? undefined : [...folder.paths.values()][0];
    if (path === undefined) throw new FleetError('outcomes.invalid', `--ensemble: there is no expert ${name}`);
    members.push({ name, tokenizer: (await readModelFacts(path)).tokenizer });
  }
  const [first] = members;
  const unlike = members.find(({ tokenizer }) => tokenizer === undefined || tokenizer !== first?.tokenizer);
  if (unlike !== undefined || members.length < 2) {
    const why =
      unlike === undefined ? 'one expert is none' : `${unlike.name} has another tokenizer than ${first?.name}`;
    throw new FleetError('outcomes.invalid', `--ensemble: ${why}`, { hint: 'name experts of one tokenizer' });
  }
  if (folders.some(({ card }) => card.name === ENSEMBLE)) {
    throw new FleetError('outcomes.invalid', `--ensemble: an expert is named ${ENSEMBLE}`);
  }
  return names;
}

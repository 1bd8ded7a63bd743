import type { RequestView } from '@fleetgate/shared/api/operations';

/** Longer lines are cut: proxies take 4 to 8 kB of headers altogether. */
const MOST_CHARACTERS = 400;
const ELLIPSIS = '...';
const UNFIT = /[^ -~]|^ | {2}| $/;
const SPELT: Readonly<Record<string, string>> = { '±': '+-', '×': 'x', '–': '-', '—': '-', '’': "'", '…': '...' };

/** Why a request is answered as it is, as a header: one line of printable ASCII. Empty where nothing is decided. */
export function whyHeader({ why, collaboration }: RequestView): Readonly<Record<string, string>> {
  if (why === '') return {};
  const told = collaboration === undefined || why.startsWith(collaboration.how) ? why : `${collaboration.how}: ${why}`;
  // A refusal may name a model as the client wrote it; most lines are fit as they are.
  if (told.length <= MOST_CHARACTERS && !UNFIT.test(told)) return { 'x-fleetgate-why': told };
  const line = told
    .slice(0, 2 * MOST_CHARACTERS)
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^ -~]/gu, (character) => SPELT[character] ?? '?')
    .trim();
  const cut = line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS - ELLIPSIS.length)}${ELLIPSIS}` : line;
  return { 'x-fleetgate-why': cut };
}

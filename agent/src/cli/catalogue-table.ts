import type { VariantCatalogue } from '@fleetgate/shared/catalogue/variant-catalogue';

import { scopeBits } from '../variants/catalogue.js';
import { meanOf } from '../variants/engine-scorer.js';

/** A catalogue as people read it; `path` is where it was written to. */
export function catalogueTable({ source, variants, search, board }: VariantCatalogue, path: string): string {
  const row = (name: string, figures: readonly string[], how: string): string =>
    `${name.padEnd(26)}${figures.map((figure) => figure.padStart(12)).join('')}  ${how}\n`;
  const rows = variants.map(({ name, scope, bitsPerByte, sizeBytes, decodeJPerToken, how, file }) =>
    row(
      name,
      [scopeBits(bitsPerByte, scope).toFixed(4), (sizeBytes / 1e6).toFixed(2), (1000 * decodeJPerToken).toFixed(3)],
      `${how}${file === undefined ? '' : ' *'}`,
    ),
  );
  return [
    `${variants.length} builds that none beats, of ${search.evaluations} measured -> ${path}\n`,
    row('variant', ['bits/byte', 'MB', 'mJ/token'], `(modelled for ${board})`),
    row('source', [meanOf(source.bitsPerByte).toFixed(4), (source.sizeBytes / 1e6).toFixed(2), ''], ''),
    ...Object.entries(source.bitsPerByte)
      .filter(([task]) => variants.some(({ scope }) => scope === task))
      .map(([task, bits]) => row(`source on ${task}`, [bits.toFixed(4), (source.sizeBytes / 1e6).toFixed(2), ''], '')),
    ...rows,
    '* built\n',
  ].join('');
}

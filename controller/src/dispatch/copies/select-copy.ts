import { type DispatchFacts, unplacedCandidates } from '../candidates.js';
import { byPreference, MOST_RANKED, type Prices, type Ranked, type Selection } from '../select.js';
import { shortlist } from './shortlist.js';
import type { Weighing } from './weighing.js';

/** As `select` does of all candidates, but they are made only of the copies that are ranked. */
export function selectCopy(facts: DispatchFacts, weighing: Weighing, prices: Prices): Selection {
  const { experts, table } = weighing.placed;
  const best = shortlist(table, experts.length, MOST_RANKED);
  const ranked = withUnplaced(
    best.rows.map((row) => rankedAs(row, weighing)),
    facts,
    weighing,
  );
  const first = ranked[0];
  const chosen = first?.candidate.excluded === undefined ? first : undefined;
  return { prices, ranked, eligible: best.eligible, chosen };
}

function rankedAs(row: number, weighing: Weighing): Ranked {
  const candidate = weighing.candidateAt(row);
  return { candidate, value: candidate.cost === undefined ? undefined : weighing.placed.table.value[row] };
}

/** What is placed nowhere has no value: it is ranked only where copies that have one leave room. */
function withUnplaced(ranked: readonly Ranked[], facts: DispatchFacts, { placed }: Weighing): readonly Ranked[] {
  if (ranked.length >= MOST_RANKED && ranked[MOST_RANKED - 1]?.value !== undefined) return ranked;
  const unplaced = unplacedCandidates(facts, placed).map((candidate) => ({ candidate, value: undefined }));
  return [...ranked, ...unplaced].sort(byPreference).slice(0, MOST_RANKED);
}

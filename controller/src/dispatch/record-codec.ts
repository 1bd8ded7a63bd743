import type { CandidateView, RequestView } from '@fleetgate/shared/api/operations';

/** A candidate as the ledger keeps it: half the bytes of an object with names. */
type CandidateRow = readonly [
  expertId: string,
  variantId: string,
  deviceId: string | null,
  quality: number,
  qualitySd: number,
  latencyMs: number | null,
  energyJ: number | null,
  value: number | null,
  chosen: 0 | 1,
  excluded: string | null,
];

/** Rows of candidates by the array that a record and its later states share: they are written with each of these. */
const written = new WeakMap<readonly CandidateView[], string>();

/** The JSON that `decodeRecord` reads. Ids and reasons of exclusion have nothing in them to escape (`shared/ids.ts`). */
export function encodeRecord(record: RequestView): string {
  const { candidates } = record;
  let rows = written.get(candidates);
  if (rows === undefined) {
    rows = candidates.map(rowOf).join(',');
    written.set(candidates, rows);
  }
  const rest = JSON.stringify({ ...record, candidates: undefined });
  return `${rest.slice(0, -1)},"candidates":[${rows}]}`;
}

/** The record that was encoded, or written by a version that kept whole objects. Throws `SyntaxError`. */
export function decodeRecord(json: string): RequestView {
  const stored = JSON.parse(json) as Omit<RequestView, 'candidates'> & {
    readonly candidates: readonly (CandidateRow | CandidateView)[];
  };
  return { ...stored, candidates: stored.candidates.map(viewOf) };
}

function rowOf(view: CandidateView): string {
  const { expertId, variantId, deviceId, quality, qualitySd, latencyMs, energyJ, value, chosen, excluded } = view;
  const names = `"${expertId}","${variantId}",${quoted(deviceId)}`;
  const figures = `${known(quality)},${known(qualitySd)},${known(latencyMs)},${known(energyJ)},${known(value)}`;
  return `[${names},${figures},${chosen ? 1 : 0},${quoted(excluded)}]`;
}

const quoted = (name: string | null): string => (name === null ? 'null' : `"${name}"`);
/** As `JSON.stringify` has numbers. */
const known = (figure: number | null): number | null => (Number.isFinite(figure) ? figure : null);

function viewOf(stored: CandidateRow | CandidateView): CandidateView {
  if ('expertId' in stored) return stored;
  const [expertId, variantId, deviceId, quality, qualitySd, latencyMs, energyJ, value, chosen, excluded] = stored;
  return {
    expertId,
    variantId,
    deviceId,
    quality,
    qualitySd,
    latencyMs,
    energyJ,
    value,
    chosen: chosen === 1,
    excluded,
  };
}

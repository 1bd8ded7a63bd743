import { count, joules, UNKNOWN } from '../format.js';
import { usePage } from '../page.js';
import { HISTORY_MS } from '../state/live.js';
import { requestSeries } from './series.js';
import { type ChartSeries, TimeChart } from './time-chart.js';

const BUCKET_MS = 30_000;

const SERIES: readonly ChartSeries[] = [
  {
    label: 'Requests per 30 s',
    colour: '--series-soft',
    kind: 'bars',
    axis: 'left',
    whole: true,
    show: (value) => (value === null ? UNKNOWN : String(value)),
  },
  { label: 'Energy per 30 s', colour: '--energy', kind: 'line', axis: 'right', show: joules },
];

export function RequestChart() {
  const { store } = usePage();
  // New buckets every 30 s; between them only new requests change the picture.
  const toMs = Math.ceil(store.nowMs.value / BUCKET_MS) * BUCKET_MS;
  const series = requestSeries(store.fleet.value.requests, toMs, HISTORY_MS, BUCKET_MS);
  const total = series.requests.reduce((sum, n) => sum + n, 0);
  const energyJ = series.energyJ.reduce((sum, n) => sum + n, 0);
  const summary = `${count(total, 'request')} with ${joules(energyJ)} in the last 15 minutes`;
  return (
    <>
      <p class="muted chart-note">{summary}</p>
      <TimeChart summary={summary} series={SERIES} timesS={series.timesS} columns={[series.requests, series.energyJ]} />
    </>
  );
}

import { watts } from '../format.js';
import { SourceTag } from '../parts/badge.js';
import { Empty } from '../parts/section.js';
import { usePage } from '../page.js';
import { fleetFigures } from '../fleet/fleet-figures.js';
import { HISTORY_MS } from '../state/live.js';
import { powerSeries } from './series.js';
import { TimeChart } from './time-chart.js';

const STEP_MS = 5000;
/** Stored telemetry comes by the minute: its points are a minute apart. */
const HOLD_MS = 65_000;
/** More lines than this cannot be told apart. */
const MAX_LINES = 6;

export function PowerChart() {
  const { store } = usePage();
  const fleet = store.fleet.value;
  const toMs = Math.floor(store.nowMs.value / STEP_MS) * STEP_MS;
  const { timesS, devices } = powerSeries(fleet.power, toMs, HISTORY_MS, STEP_MS, HOLD_MS);
  if (devices.length === 0) return <Empty title="No power reported yet" />;
  const shown = devices.slice(0, MAX_LINES);
  const now = fleetFigures(fleet.devices.values());
  const summary = shown.map((device) => `${device.id} ${watts(fleet.devices.get(device.id)?.last.powerW)}`).join(', ');
  return (
    <>
      <p class="muted chart-note">
        {watts(now.powerW)} now <SourceTag source={now.powerSource} />
        {devices.length > MAX_LINES ? `, the first ${MAX_LINES} of ${devices.length} devices drawn` : ''}
      </p>
      <TimeChart
        summary={`Power now: ${summary}`}
        series={shown.map((device, i) => ({
          label: device.id,
          colour: `--series-${i + 1}`,
          kind: 'line',
          axis: 'left',
          show: watts,
        }))}
        timesS={timesS}
        columns={shown.map((device) => device.watts)}
      />
    </>
  );
}

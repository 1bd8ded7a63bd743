import type { DeviceView } from '@fleetgate/shared/api/operations';

import { ago, bytes, celsius, count, percent, timeOfDay, tokensPerS, UNKNOWN, watts } from '../format.js';
import { Badge, SourceTag } from '../parts/badge.js';
import { Meter } from '../parts/meter.js';
import { usePage } from '../page.js';
import type { DeviceNote, PowerSample } from '../state/live.js';
import { sparkline, standing } from './fleet-figures.js';
import { ResidencyChip } from './residency-chip.js';

const SPARK_MS = 5 * 60_000;
const SPARK = { width: 120, height: 30 };

export interface DeviceCardProps {
  readonly device: DeviceView;
  readonly samples: readonly PowerSample[];
  readonly notes: readonly DeviceNote[];
}

export function DeviceCard({ device, samples, notes }: DeviceCardProps) {
  const { word, tone } = standing(device);
  const online = device.state === 'online';
  const { last } = device;
  return (
    <article
      class={`device ${online ? '' : 'device-away'}`}
      aria-labelledby={`device-${device.id}`}
      data-device={device.id}
    >
      <header class="device-head">
        <div>
          <h3 id={`device-${device.id}`}>{device.id}</h3>
          <p class="muted">
            {device.boardTitle}
            {device.power?.mode === undefined ? '' : `, power mode ${device.power.mode}`}
          </p>
        </div>
        <Badge tone={tone}>
          <i class="dot" aria-hidden="true" />
          {word}
        </Badge>
      </header>

      <div class="device-power">
        <div>
          <span class="device-watts" title={powerTitle(device)}>
            {watts(online ? last.powerW : null)}
          </span>
          <SourceTag source={device.power?.source ?? null} />
        </div>
        <Spark samples={samples} />
      </div>

      <dl class="device-facts">
        <Fact label="Heat" value={celsius(online ? last.temperatureC : null)} missing="no temperature sensor">
          {last.throttled !== undefined && last.throttled > 0 && online ? <Badge tone="warn">throttled</Badge> : null}
        </Fact>
        <Fact label="Output" value={online ? tokensPerS(last.outputTokensPerS) : UNKNOWN} missing="not reported yet" />
        <Fact label="Jobs" value={jobs(device)} missing="not reported yet" hint="running / at once + queued" />
        {last.batteryRatio === undefined ? (
          <Fact label="CPU" value={percent(online ? last.cpuRatio : null)} missing="not reported yet" />
        ) : (
          <Fact label="Battery" value={percent(last.batteryRatio)} missing="no battery" />
        )}
      </dl>

      <MemoryBar device={device} />

      <Residents device={device} />

      <Note notes={notes} />

      <footer class="device-foot">
        <LastSeen device={device} />
        <span>{device.engine === null ? 'engine not reported' : `${device.engine.kind} ${device.engine.version}`}</span>
      </footer>
    </article>
  );
}

function Fact({
  label,
  value,
  missing,
  hint,
  children,
}: {
  readonly label: string;
  readonly value: string;
  readonly missing: string;
  readonly hint?: string;
  readonly children?: preact.ComponentChildren;
}) {
  return (
    <div>
      <dt>{label}</dt>
      <dd title={value === UNKNOWN ? missing : hint}>
        {value} {children}
      </dd>
    </div>
  );
}

function MemoryBar({ device }: { readonly device: DeviceView }) {
  const { memory } = device;
  if (memory === null) return null;
  const text = `${bytes(memory.usedBytes)} of ${bytes(memory.budgetBytes)}`;
  return (
    <div class="device-memory">
      <span>Memory for experts</span>
      <span class="device-memory-text">{text}</span>
      <Meter
        label={`Memory for experts on ${device.id}`}
        fill={memory.budgetBytes > 0 ? Math.min(1, memory.usedBytes / memory.budgetBytes) : 0}
        text={text}
      />
    </div>
  );
}

function Residents({ device }: { readonly device: DeviceView }) {
  const shown = device.variants.filter((variant) => variant.residency !== 'absent');
  if (shown.length === 0) {
    return <p class="device-none">{whyEmpty(device)}</p>;
  }
  return (
    <ul class="chips" aria-label={`Experts on ${device.id}`}>
      {shown.map((variant) => (
        <ResidencyChip key={variant.variantId} variant={variant} />
      ))}
    </ul>
  );
}

function whyEmpty({ state, activity }: DeviceView): string {
  if (state !== 'online') return 'Nothing reported';
  return activity === 'standby' ? 'Not needed by the plan' : 'No expert here yet';
}

/** The newest thing worth a look that the device told; what merely happened is left to the log. */
function Note({ notes }: { readonly notes: readonly DeviceNote[] }) {
  const note = notes.find((each) => each.level !== 'info');
  if (note === undefined) return null;
  return (
    <p class={`device-note tone-${note.level === 'error' ? 'bad' : 'warn'}`}>
      {timeOfDay(note.atMs)} {note.message}
    </p>
  );
}

function LastSeen({ device }: { readonly device: DeviceView }) {
  const { store } = usePage();
  const seen = ago(device.lastSeenMs, store.nowMs.value);
  return <span title={device.lastSeenMs === null ? undefined : timeOfDay(device.lastSeenMs)}>seen {seen}</span>;
}

function Spark({ samples }: { readonly samples: readonly PowerSample[] }) {
  const last = samples.at(-1);
  const points = last === undefined ? '' : sparkline(samples, last.atMs, SPARK_MS, SPARK.width, SPARK.height);
  if (points === '') return null;
  return (
    <svg class="spark" viewBox={`0 0 ${SPARK.width} ${SPARK.height}`} preserveAspectRatio="none" aria-hidden="true">
      <polyline points={points} />
    </svg>
  );
}

function jobs(device: DeviceView): string {
  const { runningJobs, queuedJobs } = device.last;
  if (device.state !== 'online' || (runningJobs === undefined && queuedJobs === undefined)) return UNKNOWN;
  const atOnce = device.concurrency === null ? '' : `/${device.concurrency}`;
  return `${runningJobs ?? 0}${atOnce}${queuedJobs ? ` + ${queuedJobs}` : ''}`;
}

function powerTitle(device: DeviceView): string | undefined {
  const { power } = device;
  if (power === null) return undefined;
  const governor = power.cpuGovernor === undefined ? '' : `, governor ${power.cpuGovernor}`;
  return `From ${power.from}; ${watts(power.idleW)} idle, ${watts(power.loadW)} under load, ${count(device.host?.cores ?? 0, 'core')}${governor}`;
}

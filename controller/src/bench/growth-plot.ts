/** A picture of how time and memory grow with the fleet: SVG without scripts, on any background. */

export interface GrowthPoint {
  /** `pools`: identical devices by count; `single`: every device different. */
  readonly fleet: 'pools' | 'single';
  readonly devices: number;
  readonly seconds: number;
  readonly peakBytes: number;
  /** Whether time ran out before the gap asked for was reached. */
  readonly isTimedOut: boolean;
}

const WIDTH = 640;
const HEIGHT = 300;
const PANEL = { left: 56, top: 34, width: 236, height: 206, gap: 84 };
const COLOURS: Readonly<Record<GrowthPoint['fleet'], string>> = { pools: '#2a78b8', single: '#c2571a' };

interface Axis {
  readonly low: number;
  readonly high: number;
}

/** Two panels, seconds and MiB against devices, both axes logarithmic. Empty when there is no point. */
export function growthPlot(points: readonly GrowthPoint[]): string {
  const mebibytes = points.map((point) => ({ ...point, value: point.peakBytes / 2 ** 20 }));
  const seconds = points.map((point) => ({ ...point, value: point.seconds }));
  const x = axisOf(points.map(({ devices }) => devices));
  const panels = [
    panel('seconds to the certified plan', seconds, x, PANEL.left),
    panel('peak memory, MiB', mebibytes, x, PANEL.left + PANEL.width + PANEL.gap),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="11" fill="#808080">
${panels.join('\n')}
${legend()}
</svg>
`;
}

/** Whole powers of ten around all values. */
function axisOf(values: readonly number[]): Axis {
  const logs = values.map((value) => Math.log10(Math.max(value, 1e-9)));
  const low = Math.floor(Math.min(...logs));
  return { low, high: Math.max(low + 1, Math.ceil(Math.max(...logs))) };
}

const at = ({ low, high }: Axis, value: number): number => (Math.log10(Math.max(value, 1e-9)) - low) / (high - low);

function panel(
  title: string,
  points: readonly (GrowthPoint & { readonly value: number })[],
  x: Axis,
  left: number,
): string {
  const y = axisOf(points.map(({ value }) => value));
  const across = (value: number) => (left + PANEL.width * at(x, value)).toFixed(1);
  const up = (value: number) => (PANEL.top + PANEL.height * (1 - at(y, value))).toFixed(1);
  const bottom = PANEL.top + PANEL.height;
  const lines = [`<text x="${left}" y="${PANEL.top - 14}" font-weight="600">${title}</text>`];
  for (const power of powers(x)) {
    const place = across(power);
    lines.push(`<path d="M${place} ${PANEL.top}V${bottom}" stroke="#808080" stroke-opacity="0.25"/>`);
    lines.push(`<text x="${place}" y="${bottom + 16}" text-anchor="middle">${power.toLocaleString('en')}</text>`);
  }
  for (const power of powers(y)) {
    lines.push(`<path d="M${left} ${up(power)}h${PANEL.width}" stroke="#808080" stroke-opacity="0.25"/>`);
    lines.push(`<text x="${left - 6}" y="${up(power)}" dy="4" text-anchor="end">${power.toLocaleString('en')}</text>`);
  }
  for (const [fleet, colour] of Object.entries(COLOURS)) {
    const own = points.filter((point) => point.fleet === fleet).sort((a, b) => a.devices - b.devices);
    const path = own.map(({ devices, value }, i) => `${i === 0 ? 'M' : 'L'}${across(devices)} ${up(value)}`).join('');
    if (own.length > 0) lines.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const { devices, value, isTimedOut } of own) {
      const figure = `${devices.toLocaleString('en')} devices: ${Number(value.toPrecision(3))}`;
      const inside = isTimedOut ? `#ffffff" stroke="${colour}" stroke-width="2` : colour;
      lines.push(
        `<circle cx="${across(devices)}" cy="${up(value)}" r="3.5" fill="${inside}"><title>${figure}</title></circle>`,
      );
    }
  }
  return lines.join('\n');
}

const powers = ({ low, high }: Axis): readonly number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => Number(`1e${low + i}`));

function legend(): string {
  const y = HEIGHT - 16;
  return [
    `<text x="${PANEL.left}" y="${y}">devices; </text>`,
    `<text x="${PANEL.left + 54}" y="${y}" fill="${COLOURS.pools}">pools of identical ones</text>`,
    `<text x="${PANEL.left + 190}" y="${y}" fill="${COLOURS.single}">every one different</text>`,
    `<text x="${PANEL.left + 310}" y="${y}">hollow: at the time limit, with a larger gap</text>`,
  ].join('\n');
}

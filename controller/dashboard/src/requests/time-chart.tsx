import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { timeOfDay } from '../format.js';

export interface ChartSeries {
  readonly label: string;
  /** Name of the CSS variable that holds its colour. */
  readonly colour: string;
  readonly kind: 'line' | 'bars';
  readonly axis: 'left' | 'right';
  readonly show: (value: number | null) => string;
  /** Counts: no ticks between whole numbers. */
  readonly whole?: boolean;
}

export interface TimeChartProps {
  /** What the chart shows now, in words. */
  readonly summary: string;
  readonly series: readonly ChartSeries[];
  readonly timesS: readonly number[];
  readonly columns: readonly (readonly (number | null)[])[];
}

const HEIGHT = 190;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000];

export function TimeChart({ summary, series, timesS, columns }: TimeChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const data: UPlot.AlignedData = [[...timesS], ...columns.map((column) => [...column])];
  const latest = useRef(data);
  latest.current = data;
  const shape = series.map((each) => `${each.label}|${each.colour}`).join(';');

  useEffect(() => {
    const element = host.current;
    if (element === null) return undefined;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new UPlot(options(element, series), latest.current, element);
    };
    draw();
    const sizes = new ResizeObserver(() => {
      if (element.clientWidth > 0) plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    sizes.observe(element);
    const scheme = window.matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    return () => {
      scheme.removeEventListener('change', draw);
      sizes.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
    // Drawn anew when the series change; new values go in below.
  }, [shape]);
  useEffect(() => {
    plot.current?.setData(data);
  }, [timesS, columns]);

  return (
    <figure class="chart">
      <div ref={host} aria-hidden="true" />
      <figcaption class="visually-hidden">{summary}</figcaption>
    </figure>
  );
}

function options(element: HTMLElement, series: readonly ChartSeries[]): UPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(name).trim() || 'currentColor';
  const axis = {
    stroke: colour('--muted'),
    font: `11px ${style.fontFamily}`,
    ticks: { show: false },
    grid: { stroke: colour('--line'), width: 1 },
  };
  const right = series.find((each) => each.axis === 'right');
  const left = series.find((each) => each.axis === 'left');
  const bars = UPlot.paths.bars?.({ size: [0.7, 22] });
  return {
    width: Math.max(200, element.clientWidth),
    height: HEIGHT,
    padding: [10, right === undefined ? 8 : 0, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    scales: {
      left: { range: (_plot, _min, max) => [0, Math.max(max, 1) * 1.12] },
      right: { range: (_plot, _min, max) => [0, Math.max(max, 1) * 1.12] },
    },
    series: [
      { label: 'Time', value: (_plot, value: number | null) => (value === null ? '' : timeOfDay(value * 1000)) },
      ...series.map((each): UPlot.Series => ({
        label: each.label,
        scale: each.axis,
        stroke: colour(each.colour),
        width: each.kind === 'bars' ? 0 : 1.6,
        points: { show: false },
        value: (_plot, value: number | null) => (value === null ? '' : each.show(value)),
        ...(each.kind === 'bars' ? { fill: colour(each.colour) } : {}),
        ...(each.kind === 'bars' && bars !== undefined ? { paths: bars } : {}),
      })),
    ],
    axes: [
      {
        ...axis,
        size: 30,
        grid: { show: false },
        values: (_plot, times) => times.map((time) => timeOfDay(time * 1000).slice(0, 5)),
      },
      {
        ...axis,
        scale: 'left',
        size: 54,
        ...(left?.whole === true ? { incrs: WHOLE } : {}),
        values: (_plot, values) => values.map((value) => tick(left, value)),
      },
      // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- uPlot's enum of sides exists in its types only.
      ...(right === undefined
        ? []
        : [
            {
              ...axis,
              scale: 'right',
              side: 1 as const,
              size: 54,
              grid: { show: false },
              values: (_plot: UPlot, values: number[]) => values.map((value) => tick(right, value)),
            },
          ]),
    ],
  };
}

/** `10.0 J` at a tick reads `10 J`. */
function tick(series: ChartSeries | undefined, value: number): string {
  return series === undefined ? '' : series.show(value).replace(/\.0+(?=\s|$)/, '');
}

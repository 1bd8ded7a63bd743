import { z } from 'zod';

import type { Reading } from './sensors.js';

/** Null or of another type is as good as left out: versions of Termux:API differ, and one odd field spoils no other. */
const number = z.number().optional().catch(undefined);
const statusSchema = z.object({
  percentage: number,
  plugged: z.string().optional().catch(undefined),
  /** Degrees Celsius; some versions give it as text, with the comma of some languages. */
  temperature: z.preprocess((value) => (typeof value === 'string' ? Number(value.replace(',', '.')) : value), number),
  /** mV; older versions leave it out. */
  voltage: number,
  /** uA with a sign that depends on the vendor; some vendors give mA. */
  current: number,
});

/** Power of a phone that is up: below it the figure is a unit error, above it nothing but charging explains it. */
const PLAUSIBLE_W = { least: 0.1, most: 20 };
/** A lithium cell is 2.5 to 4.5 V; two in series at most 9 V. */
const PLAUSIBLE_V = { least: 2.5, most: 9 };
/** No phone runs on less than 20 mA, nor takes 20 A: a figure below 20 000 must be in mA. */
const LEAST_MICROAMPERES = 20_000;

/**
 * Reads `termux-battery-status`. Undefined when `text` is not its JSON.
 *
 * Power is |current| x voltage, and only when that is the phone's own use: unplugged, with a plausible voltage and a
 * plausible product. Otherwise it is left out and the caller models it.
 */
export function parseTermuxStatus(text: string): Reading | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const status = statusSchema.safeParse(value);
  if (!status.success) return undefined;
  const { percentage, plugged, temperature, voltage, current } = status.data;
  const powerW = plugged === 'UNPLUGGED' ? plausiblePower(current, voltage) : undefined;
  return {
    ...(percentage === undefined ? {} : { batteryRatio: Math.min(1, Math.max(0, percentage / 100)) }),
    ...(plugged === undefined ? {} : { onBattery: plugged === 'UNPLUGGED' }),
    ...(temperature === undefined || temperature < -40 || temperature > 100 ? {} : { temperatureC: temperature }),
    ...(powerW === undefined ? {} : { powerW, powerFrom: 'termux-battery current x voltage' }),
  };
}

function plausiblePower(current: number | undefined, voltage: number | undefined): number | undefined {
  if (current === undefined || voltage === undefined) return undefined;
  const volts = voltage / 1000;
  const magnitude = Math.abs(current);
  const amperes = magnitude < LEAST_MICROAMPERES ? magnitude / 1000 : magnitude / 1_000_000;
  const power = volts * amperes;
  const plausible =
    volts >= PLAUSIBLE_V.least && volts <= PLAUSIBLE_V.most && power >= PLAUSIBLE_W.least && power <= PLAUSIBLE_W.most;
  return plausible ? power : undefined;
}

/**
 * Power of a Raspberry Pi 5 by `vcgencmd pmic_read_adc`, watts: V x I summed over the rails that report both.
 *
 * Input rails (EXT5V, BATT) report volts only. The sum leaves out the loss of the power chip and USB; the community fit
 * against a wall meter, 1.1451 x + 0.5879 W, puts them back. Undefined when the text holds no complete rail.
 */
export function parsePmicPower(text: string): number | undefined {
  const amps = new Map<string, number>();
  const volts = new Map<string, number>();
  for (const [, rail, kind, value] of text.matchAll(/^\s*(\w+?)_([AV]) (?:current|volt)\(\d+\)=([\d.]+)[AV]\s*$/gm)) {
    if (rail !== undefined) (kind === 'A' ? amps : volts).set(rail, Number(value));
  }
  const complete = [...amps].filter(([rail]) => volts.has(rail));
  if (complete.length === 0) return undefined;
  const sum = complete.reduce((total, [rail, current]) => total + current * (volts.get(rail) ?? 0), 0);
  return 1.1451 * sum + 0.5879;
}

/** `throttled=0x50005` of `vcgencmd get_throttled`: bits 0..3 are now (under-voltage, capped, throttled, soft limit). */
export function parseThrottled(text: string): boolean | undefined {
  const match = /^throttled=0x([0-9a-f]+)$/im.exec(text.trim());
  return match === null ? undefined : (Number.parseInt(match[1] ?? '0', 16) & 0xf) !== 0;
}

/** `temp=47.2'C` of `vcgencmd measure_temp`. */
export function parseTemperature(text: string): number | undefined {
  const match = /^temp=(-?\d+(?:\.\d+)?)'C$/m.exec(text.trim());
  return match === null ? undefined : Number(match[1]);
}

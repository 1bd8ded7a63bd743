import { energy, type Joules, milliseconds, type Milliseconds, watts } from '../units/quantity.js';
import type { BoardProfile } from './board.js';

/** Work per token that does not grow with the weights: kernel launches, sampling, per layer. */
const FIXED_MS_PER_LAYER = 0.04;
const FIXED_MS = 0.2;
/** A board whose load figure is no higher than its idle figure still uses something. */
const LEAST_ABOVE_IDLE_W = 0.05;

/**
 * Time that a board takes for an output token: decoding reads every active weight once, and memory bandwidth bounds it.
 *
 * `bandwidth` in bytes per second. Modelled: good for comparing builds of one model, off by a factor of two as often as
 * not for one of them.
 */
export function modelledDecodeTime(activeBytes: number, layers: number, bandwidth: number): Milliseconds {
  return milliseconds((1000 * activeBytes) / bandwidth + FIXED_MS + FIXED_MS_PER_LAYER * layers);
}

/** Power above idle under inference load. */
export function powerAboveIdle({ idleW, loadW }: { readonly idleW: number; readonly loadW: number }): number {
  return Math.max(LEAST_ABOVE_IDLE_W, loadW - idleW);
}

/** Energy above idle of an output token on a board of this type, by `modelledDecodeTime` and the profile's power. */
export function modelledDecodeEnergy(activeBytes: number, layers: number, board: BoardProfile): Joules {
  const { idleW, loadW } = board.power;
  const time = modelledDecodeTime(activeBytes, layers, board.decodeBandwidthBytesPerS.value);
  return energy(watts(powerAboveIdle({ idleW: idleW.value, loadW: loadW.value })), time);
}

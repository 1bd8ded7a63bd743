import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { type Bytes, bytes } from '@fleetgate/shared/units/quantity';

/** Of a machine smaller than its board, the system keeps at most this share: the profile's reserve is meant for the board. */
const MOST_RESERVED = 0.25;

/**
 * Memory that variants may take: the board's less what is reserved, and never more than this machine can give
 * (a laptop that plays a Jetson, an 8 GB module of a board that also comes with 16).
 */
export function memoryBudget(board: BoardProfile, machineBytes: number): Bytes {
  const ofBoard = board.memoryBytes.value - board.reservedBytes;
  const ofMachine = machineBytes - Math.min(board.reservedBytes, machineBytes * MOST_RESERVED);
  return bytes(Math.max(0, Math.floor(Math.min(ofBoard, ofMachine))));
}

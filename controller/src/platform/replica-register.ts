import type { ReplicaId } from '@fleetgate/shared/ids';

/** One of several controllers, as it stands in the register. */
export interface ReplicaRow {
  readonly name: ReplicaId;
  /** Counts the starts of controllers of this name, and those after they were taken for gone. */
  readonly incarnation: number;
  /** Counts its signs of life. */
  readonly beats: number;
  /** What it has told of itself with the last one; empty before the first. */
  readonly told: string;
}

/** The controllers that serve a fleet together. Every one writes its own row; the one that leads takes rows away. */
export interface ReplicaRegister {
  /** Enters a controller of this name as the next of its incarnations; one before is none of the fleet's any more. */
  enter(name: ReplicaId): Promise<ReplicaRow>;
  /** A sign of life, with what the others are to know. False when the row is not there any more: it was taken for gone, or another of its name has entered. */
  beat(row: ReplicaRow, told: string): Promise<boolean>;
  all(): Promise<readonly ReplicaRow[]>;
  /** Takes a row away, if it is still as it was seen: false where it has given a sign of life meanwhile. */
  strike(seen: ReplicaRow): Promise<boolean>;
  /** Leaves in order. */
  leave(row: ReplicaRow): Promise<void>;
}

/** What the work of a controller is known by: another one after every start. */
export const ownerOf = ({ name, incarnation }: Pick<ReplicaRow, 'name' | 'incarnation'>): string =>
  `${name}/${incarnation}`;

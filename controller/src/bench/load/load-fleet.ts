/** A fleet that was started to be put under load, on this machine. */
export interface LoadFleet {
  /** Process ids of the controller and the agents, by name; one that is down at the moment is missing. */
  pids(): ReadonlyMap<string, number>;
  /** SIGKILL; started again after `awayMs`. */
  kill(device: string, awayMs: number): void;
  /** SIGSTOP, and SIGCONT. */
  freeze(device: string): void;
  thaw(device: string): void;
}

/** Counts since the start of the controller, for metrics. */
export class DispatchStats {
  accepted = 0;
  succeeded = 0;
  failed = 0;
  refused = 0;
  cancelled = 0;
  /** Attempts after the first. */
  retried = 0;
  /** Second jobs of requests whose first token was late, and those that answered. */
  hedged = 0;
  hedgesWon = 0;
  /** Answers that another device went on with. */
  takenOver = 0;
  /** Messages delivered more than once. */
  duplicate = 0;
  /** Messages of jobs that have ended or were never ours. */
  late = 0;
  /** Messages of a job from a device that it was not sent to. */
  foreign = 0;
  /** Messages dropped because too many waited for a missing one. */
  overflow = 0;
}

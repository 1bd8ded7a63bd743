/**
 * `work`, one run at a time: those who ask while it runs share one further run, which begins after they have asked. For
 * work that takes everything as it is then, so that a thousand who ask at once cost two runs and not a thousand.
 */
export function gathered(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const run = (): Promise<void> => {
    next = undefined;
    const own = work().finally(() => {
      if (running === own) running = undefined;
    });
    running = own;
    return own;
  };
  return () => {
    if (running === undefined) return run();
    next ??= running.then(run, run);
    return next;
  };
}

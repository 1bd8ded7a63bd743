import type { Reporter, TestModule } from 'vitest/node';

/** Ends the run with one plain line of counts, which continuous integration reads. */
export class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
      if (!module.ok() && module.errors().length > 0) counts.failed += 1;
    }
    counts.failed += errors.length;
    // After the default reporter's own summary.
    process.once('exit', () =>
      console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`),
    );
  }
}

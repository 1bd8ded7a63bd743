import type { DataSource } from 'typeorm';

import { connect } from '../../telemetry/sqlite-telemetry-file.js';

/** Samples of `powerW` that a telemetry database holds, of all devices. */
export async function storedSamples(path: string): Promise<number> {
  const source: DataSource = await connect(path, {});
  try {
    const rows: readonly { readonly n: number | null }[] = await source.query(
      `SELECT sum(n) AS n FROM rollup WHERE metric = 'powerW'`,
    );
    return rows[0]?.n ?? 0;
  } finally {
    await source.destroy();
  }
}

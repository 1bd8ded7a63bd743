import type { PlanView } from '@fleetgate/shared/api/operations';

import { percent } from '../format.js';
import type { FleetState } from '../state/live.js';
import { type PlacementCell, placementMatrix } from './placement.js';

export function PlacementTable({ fleet, plan }: { readonly fleet: FleetState; readonly plan: PlanView }) {
  const matrix = placementMatrix(fleet, plan);
  const most = Math.max(1e-9, ...matrix.rows.flatMap((row) => row.cells.map((cell) => cell.share)));
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label="Placement, expert by device">
      <table class="matrix">
        <thead>
          <tr>
            <th scope="col">Expert</th>
            {matrix.devices.map((device) => (
              <th key={device.id} scope="col">
                {device.id}
                <small>{device.online ? (device.poweredOn ? '' : 'standby') : 'away'}</small>
              </th>
            ))}
            <th scope="col" class="num">
              Traffic
            </th>
          </tr>
        </thead>
        <tbody>
          {matrix.rows.map((row) => (
            <tr key={row.expertId} class={row.placed ? '' : 'matrix-idle'}>
              <th scope="row" title={row.title}>
                {row.expertId}
              </th>
              {row.cells.map((cell) => (
                <td key={cell.deviceId}>
                  <Cell cell={cell} most={most} />
                </td>
              ))}
              <td class="num">{row.placed ? percent(row.share) : 'not hosted'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** `most` is the largest share in the table, which fills its cell. */
function Cell({ cell, most }: { readonly cell: PlacementCell; readonly most: number }) {
  if (cell.variantId === null) return <span class="cell cell-none" aria-label="not here" />;
  const ready = cell.residency === 'resident';
  const state = cell.residency ?? 'not reported';
  return (
    <span class={`cell ${ready ? 'cell-ready' : 'cell-coming'}`} title={`${cell.variantId}, ${state}`}>
      <span class="cell-share" style={{ width: `${((100 * cell.share) / most).toFixed(1)}%` }} aria-hidden="true" />
      <span class="cell-text">
        {cell.share > 0 ? percent(cell.share) : 'held'}
        {ready ? null : <span class="visually-hidden">, {state}</span>}
      </span>
    </span>
  );
}

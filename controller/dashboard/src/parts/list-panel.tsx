import type { ComponentChildren } from 'preact';

import type { Listing } from '../state/use-list.js';

const FORBIDDEN = 403;

export interface ListPanelProps<Item> {
  readonly title: string;
  readonly listing: Listing<Item>;
  /** Said while there are none. */
  readonly none: string;
  readonly columns: readonly string[];
  readonly row: (item: Item) => ComponentChildren;
  /** Shown below the list. */
  readonly children?: ComponentChildren;
}

/** A list in a table. Without the scope for it, it says which key may. */
export function ListPanel<Item>({ title, listing, none, columns, row, children }: ListPanelProps<Item>) {
  const { items, fault } = listing;
  if (fault?.status === FORBIDDEN) {
    return (
      <Panel title={title}>
        <p class="muted">Your key does not show this. {fault.hint}</p>
      </Panel>
    );
  }
  return (
    <Panel title={title}>
      {fault === null ? null : <p class="field-error">{fault.message}</p>}
      {items === null && fault === null ? <p class="muted">Loading…</p> : null}
      {items !== null && items.length === 0 ? <p class="muted">{none}</p> : null}
      {items === null || items.length === 0 ? null : (
        <div class="scroll-x">
          <table>
            <caption class="visually-hidden">{title}</caption>
            <thead>
              <tr>
                {columns.map((column) => (
                  <th key={column} scope="col">
                    {column}
                  </th>
                ))}
                <th scope="col">
                  <span class="visually-hidden">Change</span>
                </th>
              </tr>
            </thead>
            <tbody>{items.map(row)}</tbody>
          </table>
        </div>
      )}
      {children}
    </Panel>
  );
}

function Panel({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  return (
    <div class="panel list-panel" data-panel={title}>
      <h3>{title}</h3>
      {children}
    </div>
  );
}

import type { JSX } from 'preact';

const SHAPES = {
  brand: (
    <>
      <rect width="32" height="32" rx="7" class="icon-plate" />
      <path class="icon-line" d="M6 16h7M19 9h7M19 23h7" />
      <path class="icon-line icon-faint" d="M13 16 19 9M13 16 19 23" />
      <path class="icon-hot" d="M13 16h13" />
    </>
  ),
  fleet: <path d="M5 7h22v8H5zM5 18h22v8H5zM9 11h3M9 22h3" />,
  chat: <path d="M5 6h22v16H15l-6 5v-5H5zM10 12h12M10 16h8" />,
  plan: <path d="M5 5h9v9H5zM18 5h9v9h-9zM5 18h9v9H5zM18 22.5h9M22.5 18v9" />,
  access: <path d="M12 6a6 6 0 1 0 .01 0zM16.5 16.5 27 27M22 22l3.5-3.5" />,
  rollouts: <path d="M5 9h14M5 16h9M5 23h5M22 13v12M17 20l5 5 5-5" />,
  requests: <path d="M5 26V14M12 26V7M19 26V17M26 26V10" />,
} as const satisfies Record<string, JSX.Element>;

export type IconName = keyof typeof SHAPES;

/** Decoration only: the text beside it says the same. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      {SHAPES[name]}
    </svg>
  );
}

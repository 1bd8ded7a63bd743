import { useEffect, useState } from 'preact/hooks';

import { gateNotice } from '../fleet/gate-notice.js';
import { usePage } from '../page.js';
import { Icon, type IconName } from './icon.js';

export interface NavEntry {
  readonly id: IconName;
  readonly title: string;
}

export function Header({ sections }: { readonly sections: readonly NavEntry[] }) {
  const { store } = usePage();
  const current = useCurrentSection(sections);
  return (
    <header class="bar">
      <a class="brand" href="#main" aria-label="Fleetgate, to the top">
        <Icon name="brand" />
        <span>Fleetgate</span>
        <FleetName />
      </a>
      <nav class="bar-nav" aria-label="Sections">
        {sections.map((section) => (
          <a key={section.id} href={`#${section.id}`} aria-current={section.id === current ? 'true' : undefined}>
            {section.title}
          </a>
        ))}
      </nav>
      <GatePill />
      <LinkPill phase={store.connection.value.phase} />
    </header>
  );
}

function FleetName() {
  const status = usePage().store.fleet.value.status;
  return status === null ? null : <span class="brand-fleet">{status.fleet}</span>;
}

function GatePill() {
  const notice = gateNotice(usePage().store.fleet.value.status);
  return notice === null ? null : (
    <span class={`pill tone-${notice.tone}`} role="status" data-gate={notice.tone} title={notice.title}>
      <i class="dot" aria-hidden="true" />
      {notice.word}
    </span>
  );
}

const PILLS = {
  connecting: { word: 'Connecting', tone: 'busy' },
  live: { word: 'Live', tone: 'good' },
  lost: { word: 'Disconnected', tone: 'bad' },
  'needs-key': { word: 'Locked', tone: 'off' },
} as const;

function LinkPill({ phase }: { readonly phase: keyof typeof PILLS }) {
  const { word, tone } = PILLS[phase];
  return (
    <span class={`pill tone-${tone}`} role="status" data-link={phase}>
      <i class="dot" aria-hidden="true" />
      {word}
    </span>
  );
}

/** On a phone: the same sections at the thumb. */
export function Tabs({ sections }: { readonly sections: readonly NavEntry[] }) {
  const current = useCurrentSection(sections);
  return (
    <nav class="tabs" aria-label="Sections">
      {sections.map((section) => (
        <a key={section.id} href={`#${section.id}`} aria-current={section.id === current ? 'true' : undefined}>
          <Icon name={section.id} />
          {section.title}
        </a>
      ))}
    </nav>
  );
}

/** The section that crosses a line a third down the window. */
function useCurrentSection(sections: readonly NavEntry[]): string | undefined {
  const [current, setCurrent] = useState(sections[0]?.id);
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          const found = sections.find((section) => section.id === entry.target.id);
          if (entry.isIntersecting && found !== undefined) setCurrent(found.id);
        }
      },
      { rootMargin: '-33% 0px -66% 0px' },
    );
    for (const { id } of sections) {
      const element = document.getElementById(id);
      if (element !== null) observer.observe(element);
    }
    return () => observer.disconnect();
  }, [sections]);
  return current;
}

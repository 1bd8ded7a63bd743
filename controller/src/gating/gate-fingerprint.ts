import type { Gate } from './gate.js';

/**
 * Tells one trained gate from another by what it says of its classes and experts. Computed once per gate: the list of
 * classes is the gate's own, so a new list is a new gate.
 */
export function fingerprintOf(gate: () => Gate): () => string {
  let known: { readonly classes: readonly string[]; readonly text: string } | undefined;
  return () => {
    const now = gate();
    const { classes } = now;
    if (known?.classes !== classes) known = { classes, text: describe(now) };
    return known.text;
  };
}

function describe(gate: Gate): string {
  const { classes, experts, trainedOn } = gate;
  let hash = 0x811c9dc5;
  const mix = (text: string): void => {
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  };
  for (const classId of classes) {
    for (const expert of experts)
      mix(`${classId} ${expert} ${gate.classQuality(classId, expert)?.quality.toFixed(6)};`);
  }
  return `${trainedOn}-${classes.length}-${experts.length}-${(hash >>> 0).toString(36)}`;
}

/** Whether an MQTT topic matches a subscription filter (MQTT 3.1.1, 4.7). Topics with `$` match no leading wildcard. */
export function topicMatches(filter: string, topic: string): boolean {
  const filterLevels = filter.split('/');
  const topicLevels = topic.split('/');
  if (topic.startsWith('$') && (filterLevels[0] === '+' || filterLevels[0] === '#')) return false;
  for (const [index, level] of filterLevels.entries()) {
    if (level === '#') return true;
    const actual = topicLevels[index];
    if (actual === undefined || (level !== '+' && level !== actual)) return false;
  }
  return filterLevels.length === topicLevels.length;
}

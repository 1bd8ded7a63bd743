/** Whether an MQTT topic matches a subscription filter (MQTT 3.1.1, 4.7). Topics with `$` match no leading wildcard. */
export function topicMatches(filter: string, topic: string): boolean {
  return topicMatcher(filter)(topic);
}

/** As `topicMatches`, with the filter read once. What a shared subscription is called by is no part of its filter. */
export function topicMatcher(filter: string): (topic: string) => boolean {
  const levels = filter.replace(/^\$share\/[^/]+\//, '').split('/');
  const isAnywhere = levels[0] === '+' || levels[0] === '#';
  return (topic) => {
    if (isAnywhere && topic.startsWith('$')) return false;
    // Where the next level of the topic begins; beyond its end there is none.
    let at = 0;
    for (const level of levels) {
      if (level === '#') return true;
      if (at > topic.length) return false;
      const slash = topic.indexOf('/', at);
      const end = slash < 0 ? topic.length : slash;
      if (level !== '+' && (end - at !== level.length || !topic.startsWith(level, at))) return false;
      at = end + 1;
    }
    return at > topic.length;
  };
}

/** Answer to a device: where the broker is, by the name under which the device reached the controller. */
export function mqttUrlFor(hostHeader: string | undefined, mqttUrl: string): string {
  const url = new URL(mqttUrl);
  const reached = hostHeader === undefined ? undefined : `http://${hostHeader}`;
  if (reached !== undefined && URL.canParse(reached)) url.hostname = new URL(reached).hostname;
  return url.href.replace(/\/$/, '');
}

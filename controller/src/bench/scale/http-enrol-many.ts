import type { EnrolAnswer } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

const AT_ONCE = 32;

/** Enrols `count` devices by HTTP as agents do, many at once, without a key of their own: by secret. */
export async function enrolMany(
  controllerUrl: string,
  token: string,
  count: number,
  signal: AbortSignal,
): Promise<readonly EnrolAnswer[]> {
  const answers: EnrolAnswer[] = [];
  let next = 0;
  const enrolNext = async (): Promise<void> => {
    while (next < count) {
      signal.throwIfAborted();
      const name = `load-${String(next++).padStart(5, '0')}`;
      const response = await fetch(`${controllerUrl}/api/v1/enrol`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token, name, board: 'raspberry-pi-5' }),
      });
      if (!response.ok) {
        throw new FleetError('controller.unreachable', `${name} was not enrolled: HTTP ${response.status}`, {
          hint: (await response.text()).slice(0, 300),
        });
      }
      answers.push((await response.json()) as EnrolAnswer);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, enrolNext));
  return answers;
}

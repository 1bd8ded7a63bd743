/**
 * One visit to the dashboard as a person would make it. Works on any running controller: it assumes a fleet with an
 * active plan and at least one device, and no particular experts, devices or figures.
 */
import type { Page } from 'playwright-core';

export interface Visit {
  /** Name under which pictures are kept, for example `phone`. */
  readonly name: string;
  /** Folder for pictures; none are taken without it. */
  readonly pictures?: string;
  readonly prompt?: string;
  /** Ends the page's connection and brings it back; by default the browser goes offline. */
  readonly disconnect?: () => Promise<void>;
  readonly reconnect?: () => Promise<void>;
  /** Longest wait for the first plan or an answer, ms. */
  readonly patienceMs?: number;
}

export interface Seen {
  readonly devices: readonly string[];
  readonly answer: string;
  /** How often the answer was seen to grow while it streamed. */
  readonly growths: number;
  readonly record: string;
  readonly requestId: string;
  readonly budgetOutcome: string;
  readonly refusal: string;
  readonly planBefore: string;
  readonly planAfter: string;
  /** Pixels by which the page is wider than the window: 0 when nothing sticks out. */
  readonly overflowPx: number;
}

/** Below the idle power of any device: no plan can meet it. */
const IMPOSSIBLE_W = '0.1';

/** Throws when a step does not show what it must; leaves the budget as it found it. */
export async function clickThrough(page: Page, baseUrl: string, visit: Visit): Promise<Seen> {
  const patience = visit.patienceMs ?? 20_000;
  page.setDefaultTimeout(patience);
  const picture = async (step: string): Promise<void> => {
    if (visit.pictures === undefined) return;
    await page.screenshot({ path: `${visit.pictures}/${visit.name}-${step}.png`, fullPage: step === 'page' });
  };

  await page.goto(baseUrl);
  await page.locator('[data-link="live"]').waitFor();
  await page.locator('[data-device]').first().waitFor();
  await page.locator('[data-plan]').waitFor();
  const devices = await page
    .locator('[data-device]')
    .evaluateAll((all) => all.map((one) => one.dataset['device'] ?? ''));
  await picture('fleet');

  // Chat: a streamed answer and its record.
  await page
    .getByLabel('Prompt', { exact: true })
    .fill(visit.prompt ?? 'Tom has 12 apples and gives 5 away. How many are left?');
  await page.getByRole('button', { name: 'Send' }).click();
  const exchange = page.locator('.exchange').last();
  const growths = await growthsUntilEnd(page, patience);
  const phase = await exchange.getAttribute('data-phase');
  const answer = (await exchange.locator('.exchange-answer').textContent()) ?? '';
  if (phase !== 'done')
    throw new Error(`chat: expected a whole answer, got ${phase ?? 'none'}: ${(await exchange.textContent()) ?? ''}`);
  const record = page.getByTestId('chat-record').locator('[data-request]');
  await page.locator('[data-testid="chat-record"] [data-state="succeeded"]').waitFor();
  const requestId = (await record.getAttribute('data-request')) ?? '';
  const recordText = (await record.innerText()).replaceAll('\u00a0', ' ');
  await page.locator('#chat').scrollIntoViewIfNeeded();
  await picture('chat');

  // Requests: the same record opens from the list.
  await page.locator(`tr[data-request="${requestId}"] button`).click();
  await page.locator(`dialog[open] [data-request="${requestId}"]`).waitFor();
  await picture('record');
  await page.keyboard.press('Escape');
  await page
    .locator('dialog[open]')
    .waitFor({ state: 'detached' })
    .catch(() => undefined);

  // Plan: a budget that cannot be met is refused with reasons; then the old one is set again.
  const budget = page.getByLabel('Fleet power budget, W');
  const before = await budget.inputValue();
  const planBefore = await planId(page);
  await setBudget(page, IMPOSSIBLE_W);
  const refused = page.locator('[data-outcome="refused"]');
  await refused.waitFor();
  const callout = page.getByTestId('refused');
  const refusal = (await callout.isVisible()) ? await callout.innerText() : await refused.innerText();
  await picture('refused');
  const planKept = await planId(page);
  if (planKept !== planBefore) throw new Error(`plan: expected ${planBefore} to stay after a refusal, got ${planKept}`);
  await setBudget(page, before);
  const settled = page.locator('[data-outcome="planned"], [data-outcome="kept"]');
  await settled.waitFor({ timeout: Math.max(patience, 40_000) });
  const budgetOutcome = (await settled.getAttribute('data-outcome')) ?? '';
  await page.locator('#plan').scrollIntoViewIfNeeded();
  await picture('plan');
  const planAfter = await planId(page);

  // The connection goes, and comes back by itself.
  const context = page.context();
  await (visit.disconnect ?? (() => context.setOffline(true)))();
  await page.getByTestId('lost').waitFor();
  await picture('lost');
  await (visit.reconnect ?? (() => context.setOffline(false)))();
  await page.locator('[data-link="live"]').waitFor();
  await page.getByTestId('lost').waitFor({ state: 'detached' });

  await page.evaluate(() => window.scrollTo(0, 0));
  await picture('page');
  const overflowPx = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  return {
    devices,
    answer: answer.trim(),
    growths,
    record: recordText,
    requestId,
    budgetOutcome,
    refusal: refusal.replaceAll('\u00a0', ' '),
    planBefore,
    planAfter,
    overflowPx: Math.max(0, overflowPx),
  };
}

async function setBudget(page: Page, powerW: string): Promise<void> {
  await page.getByLabel('Fleet power budget, W').fill(powerW);
  await page.getByRole('button', { name: 'Set budget' }).click();
}

async function planId(page: Page): Promise<string> {
  return (await page.locator('[data-plan]').getAttribute('data-plan')) ?? '';
}

/** Watches the last answer until it ends; counts how often it grew. */
function growthsUntilEnd(page: Page, patienceMs: number): Promise<number> {
  return page.evaluate(
    (patience) =>
      new Promise<number>((resolve, reject) => {
        let length = 0;
        let growths = 0;
        const list = document.querySelector('.chat-talk');
        const look = (): void => {
          const exchange = [...document.querySelectorAll<HTMLElement>('.exchange')].at(-1);
          const text = exchange?.querySelector('.exchange-answer')?.textContent ?? '';
          if (text.length > length) growths += 1;
          length = text.length;
          if (!['done', 'failed', 'stopped'].includes(exchange?.dataset['phase'] ?? '')) return;
          observer.disconnect();
          clearTimeout(limit);
          resolve(growths);
        };
        const observer = new MutationObserver(look);
        const limit = setTimeout(() => {
          observer.disconnect();
          reject(new Error(`chat: expected the answer to end within ${patience} ms`));
        }, patience);
        if (list !== null)
          observer.observe(list, { childList: true, subtree: true, characterData: true, attributes: true });
        look();
      }),
    patienceMs,
  );
}

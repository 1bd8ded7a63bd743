/** The built page in a real browser, against the fixture controller. Pictures go to `test/artefacts/`. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import type { BrowserContextOptions, Page } from 'playwright-core';
import { afterEach, describe, expect, it } from 'vitest';

import { findChromium, NO_CHROMIUM, openChromium } from '../support/chromium.js';
import { clickThrough } from '../support/dashboard-click-through.js';
import { type DashboardFixture, type FixtureOptions, startDashboardFixture } from '../support/dashboard-fixture.js';

const executable = findChromium();
const pictures = new URL('../artefacts', import.meta.url).pathname;
const dist = new URL('../../controller/dist/dashboard', import.meta.url).pathname;
const built = existsSync(`${dist}/index.html`);
const DESKTOP = { viewport: { width: 1440, height: 900 } };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

interface Visitor {
  readonly page: Page;
  readonly fixture: DashboardFixture;
  /** What the browser complained about: script errors, blocked or missing resources. */
  readonly complaints: string[];
}

async function visit(browser: BrowserContextOptions, options: FixtureOptions = {}): Promise<Visitor> {
  const fixture = await startDashboardFixture(options);
  closers.push(() => fixture.stop());
  const opened = await openChromium(executable ?? '', browser);
  closers.push(() => opened.close());
  const page = opened.context.pages()[0] ?? (await opened.context.newPage());
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  return { page, fixture, complaints };
}

/** While the connection is cut the browser reports each failed try; that is what is tested. */
const withoutNetwork = (complaints: readonly string[]): readonly string[] =>
  complaints.filter(
    (text) => !/ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED|INCOMPLETE_CHUNKED|NETWORK_CHANGED)/.test(text),
  );

describe.skipIf(executable === null)(executable === null ? `dashboard (skipped: ${NO_CHROMIUM})` : 'dashboard', () => {
  mkdirSync(pictures, { recursive: true });

  it('was built, and weighs less than 150 kB', () => {
    expect(built, 'run `npm run build` first').toBe(true);
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.(html|js|css|svg)$/.test(file),
    );
    const weight = files.reduce((sum, file) => sum + gzipSync(readFileSync(`${dist}/${file}`)).length, 0);
    expect(weight).toBeLessThan(150_000);
  });

  for (const [name, browser] of [
    ['desktop', DESKTOP],
    ['phone', { ...PHONE, colorScheme: 'dark' as const }],
  ] as const) {
    it(`shows the fleet, answers with its record, follows budgets and comes back, on a ${name}`, async () => {
      const { page, fixture, complaints } = await visit(browser);
      const seen = await clickThrough(page, fixture.url, {
        name,
        pictures,
        ...(name === 'desktop' ? { disconnect: () => fixture.stop(), reconnect: () => fixture.restart() } : {}),
      });
      expect(seen.devices).toEqual(['jetson', 'phone', 'pi']);
      expect(await page.locator('[data-device=jetson]').textContent()).toContain('power mode 25W');
      expect(seen.answer).toMatch(/^You asked: .*word by word\.$/);
      expect(seen.growths).toBeGreaterThan(3);
      expect(seen.record).toMatch(/math on jetson/);
      expect(seen.record).toMatch(/J\s+modelled/);
      expect(seen.record).toMatch(/predicted/);
      expect(seen.record).toMatch(/still being fetched|Show all 9 candidates/);
      expect(seen.refusal).toMatch(/power.*demand/s);
      expect(seen.refusal).toMatch(/0\.1 W -> 11\.2 W/);
      expect(seen.budgetOutcome).toBe('planned');
      expect(seen.planAfter).not.toBe(seen.planBefore);
      expect(seen.overflowPx).toBe(0);
      expect(withoutNetwork(complaints)).toEqual([]);
      expect(fixture.unknownPaths).toEqual([]);
    });
  }

  it('repairs a refused budget with one press, and rolls back after being asked', async () => {
    const { page, fixture } = await visit(DESKTOP);
    await page.goto(fixture.url);
    await page.getByLabel('Fleet power budget, W').fill('5');
    await page.getByRole('button', { name: 'Set budget' }).click();
    await page.getByTestId('repair').click();
    await page.getByTestId('refused').waitFor({ state: 'detached' });
    expect(await page.getByLabel('Fleet power budget, W').inputValue()).toBe('11.2');
    expect(await page.getByTestId('objective').innerText()).toBe('630');
    await page.getByRole('button', { name: 'Roll back…' }).click();
    await page.getByRole('button', { name: 'Roll back', exact: true }).click();
    await page.getByText('rolled back').waitFor();
    expect(await page.getByTestId('objective').innerText()).toBe('713');
  });

  it('says what is wrong with a budget that is no power, and sends nothing', async () => {
    const { page, fixture } = await visit(DESKTOP);
    await page.goto(fixture.url);
    await page.getByLabel('Fleet power budget, W').fill('a lot');
    await page.keyboard.press('Enter');
    expect(await page.locator('[data-outcome="refused"]').innerText()).toMatch(/above 0 in watts.*Got “a lot”/);
    expect(await page.locator('[data-plan]').getAttribute('data-plan')).toBe('plan-2');
  });

  it('shows text as text, and stops an answer when asked', async () => {
    const { page, fixture, complaints } = await visit(DESKTOP);
    await page.goto(fixture.url);
    const attack = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';
    await page.getByLabel('Prompt', { exact: true }).fill(attack);
    await page.keyboard.press('Enter');
    await page.locator('[data-phase="streaming"]').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('[data-phase="stopped"]').waitFor();
    await page.locator('[data-testid="chat-record"] [data-state="cancelled"]').waitFor();
    expect(await page.locator('.exchange-prompt').textContent()).toBe(attack);
    expect(await page.locator('.exchange img, .exchange script').count()).toBe(0);
    expect(await page.title()).toBe('Fleetgate');
    expect(complaints).toEqual([]);
  });

  it('asks for an API key, says when it is wrong, and goes on with the right one', async () => {
    const { page, fixture } = await visit(PHONE, { apiKey: 'fg-right' });
    await page.goto(fixture.url);
    await page.locator('input[name="key"]').fill('fg-wrong');
    await page.getByRole('button', { name: 'Unlock' }).click();
    await page.getByText('The controller refused this key.').waitFor();
    await page.screenshot({ path: `${pictures}/phone-key.png` });
    await page.locator('input[name="key"]').fill('fg-right');
    await page.getByRole('button', { name: 'Unlock' }).click();
    await page.locator('[data-device="jetson"]').waitFor();
    await page.reload();
    await page.locator('[data-device="jetson"]').waitFor();
  });

  for (const [name, browser] of [
    ['desktop', DESKTOP],
    ['phone', PHONE],
  ] as const) {
    it(`lets devices in, gives out keys, limits tenants and looks after rollouts, on a ${name}`, async () => {
      const { page, fixture, complaints } = await visit(browser);
      await page.goto(fixture.url);
      await page.locator('[data-waiting="attic"]').getByRole('button', { name: 'Let in' }).click();
      await page.locator('[data-waiting="attic"]').getByText('approved').waitFor();
      await page.getByRole('button', { name: 'New token for one device' }).click();
      expect(await page.locator('[data-secret="join token"]').innerText()).toBe('join-attic-secret');

      await page.getByLabel('What the key is for').fill('garden');
      await page.getByLabel('read: look at it').check();
      await page.getByRole('button', { name: 'Make a key' }).click();
      expect(await page.locator('[data-secret="API key"]').innerText()).toBe('fg_key-1_secret');
      const key = page.locator('[data-key="key-1"]');
      expect(await key.innerText()).toMatch(/garden\s+as asked\s+infer, read\s+valid/);
      await key.getByRole('button', { name: 'Revoke…' }).click();
      await key.getByRole('button', { name: 'Revoke', exact: true }).click();
      await key.getByText('revoked').waitFor();

      await page.getByLabel('Tenant', { exact: true }).fill('kitchen');
      await page.getByLabel('Requests a minute').fill('a few');
      await page.getByRole('button', { name: 'Set limits' }).click();
      await page.getByText('A limit is a whole number above 0').waitFor();
      await page.getByLabel('Requests a minute').fill('30');
      await page.getByRole('button', { name: 'Set limits' }).click();
      expect(await page.locator('[data-tenant="kitchen"]').innerText()).toMatch(/kitchen\s+30\s+no limit/);

      const running = page.locator('[data-rollout="ro-2"]');
      expect(await running.innerText()).toMatch(/moe-q8_0 → moe-q8_0-r60\s+running\s+1 of 3\s+1\s/);
      expect(await page.locator('[data-rollout="ro-1"]').innerText()).toMatch(/rolled-back.*at least 0\.150 is lost/s);
      await running.getByRole('button', { name: 'Pause' }).click();
      await running.getByText('paused').waitFor();
      const proposal = page.locator('[data-proposal]');
      expect(await proposal.innerText()).toMatch(/9 of 16 slabs, no others\s+91\s%/);
      await proposal.getByRole('button', { name: 'Roll out…' }).click();
      await proposal.getByRole('button', { name: 'Roll out', exact: true }).click();
      await page.locator('[data-rollout="ro-3"]').waitFor();

      await page.locator('#access').scrollIntoViewIfNeeded();
      await page.screenshot({ path: `${pictures}/${name}-access.png`, fullPage: true });
      expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBe(0);
      expect(complaints).toEqual([]);
      expect(fixture.unknownPaths).toEqual([]);
    });
  }

  it('has something to say before there are devices, plans and requests', async () => {
    const { page, fixture } = await visit(DESKTOP, { empty: true });
    await page.goto(fixture.url);
    for (const words of ['No devices yet', 'No plan yet', 'No requests yet', 'Why this answer']) {
      await page.getByText(words, { exact: true }).waitFor();
    }
    await page.screenshot({ path: `${pictures}/desktop-empty.png`, fullPage: true });
  });
});

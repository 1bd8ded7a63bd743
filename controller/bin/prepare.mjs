// Makes a checkout ready to run: installs when package files changed, builds what changed. Safe to run again and again.
//
// Runs before anything is installed: nothing but Node's own modules here.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORKSPACES = ['shared', 'firmware-configs', 'controller', 'agent'];
const INSTALL_STAMP = join(ROOT, 'node_modules/.fleetgate-install');
const DASHBOARD_STAMP = join(ROOT, 'controller/dist/.dashboard');
// Measured: 490 MB of packages, and the compiler's and npm's temporary files beside them.
const INSTALL_BYTES = 1.2e9;
const TOO_OLD = [20, 19];

await main();

async function main() {
  checkNode();
  const wanted = fingerprint(
    [
      join(ROOT, 'package-lock.json'),
      join(ROOT, 'package.json'),
      ...WORKSPACES.map((name) => join(ROOT, name, 'package.json')),
    ],
    process.version + process.arch,
  );
  if (stampOf(INSTALL_STAMP) !== wanted) {
    await install();
    writeFileSync(INSTALL_STAMP, wanted);
  }
  await step(
    'building',
    process.execPath,
    [bin('typescript', 'tsc'), '-b'],
    'fix the errors above; `npm run build` repeats this step',
  );
  const dashboard = fingerprint(filesBelow(join(ROOT, 'controller/dashboard')), '');
  if (stampOf(DASHBOARD_STAMP) !== dashboard || !existsSync(join(ROOT, 'controller/dist/dashboard/index.html'))) {
    await step(
      'building the dashboard',
      process.execPath,
      [bin('vite', 'vite'), 'build', join(ROOT, 'controller/dashboard'), '--logLevel', 'warn'],
      '`npm run build` repeats this step',
    );
    writeFileSync(DASHBOARD_STAMP, dashboard);
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < TOO_OLD[0] || (major === TOO_OLD[0] && minor < TOO_OLD[1])) {
    fail(
      `Node ${process.versions.node} is too old, expected ${TOO_OLD.join('.')} or newer`,
      'install a current Node.js 20, 22 or 24',
    );
  }
}

async function install() {
  const { bavail, bsize } = statfsSync(ROOT);
  if (bavail * bsize < INSTALL_BYTES) {
    fail(
      `the disk of ${ROOT} has ${gigabytes(bavail * bsize)} free, expected ${gigabytes(INSTALL_BYTES)}`,
      'free some space and run the same command again',
    );
  }
  const missing = ['g++', 'make', 'python3'].filter(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error,
  );
  const headers = nodeHeaders();
  if (missing.length > 0) {
    say(
      `not found: ${missing.join(', ')}. The database driver sqlite3 is compiled at installation; without them Fleetgate runs on the prebuilt driver libsql.`,
    );
    say(`to have sqlite3: apt-get install -y g++ make python3, then remove node_modules and run this again`);
  }
  // sqlite3 brings no binary: with Node's own headers at hand node-gyp compiles it without a download.
  const environment = headers === undefined ? process.env : { ...process.env, npm_config_nodedir: headers };
  await step(
    'installing packages (the first time takes one to six minutes: sqlite3 is compiled)',
    'npm',
    ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'],
    'look at the lines above; without a network, set the npm registry you can reach (npm config set registry URL)',
    environment,
  );
}

/** Folder of Node's C headers beside the running binary, in the layouts of Debian, NodeSource, nvm and the tarballs. */
function nodeHeaders() {
  if (process.env.npm_config_nodedir !== undefined) return undefined;
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node.h')) ? prefix : undefined;
}

function bin(packageName, name) {
  const root = join(ROOT, 'node_modules', packageName);
  const { bin: bins } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return join(root, typeof bins === 'string' ? bins : bins[name]);
}

/** Runs a program; quiet unless it takes long or fails. */
async function step(title, command, args, hint, env = process.env) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const announce = setTimeout(() => say(`${title} ...`), 700);
  const progress = setInterval(() => say(`${title.replace(/ \(.*/, '')} ... ${seconds()} s`), 20_000);
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const tail = [];
  const keep = (chunk) => {
    tail.push(chunk);
    if (tail.length > 200) tail.shift();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const code = await new Promise((resolve) => {
    child.on('error', (error) => {
      keep(Buffer.from(`${error.message}\n`));
      resolve(1);
    });
    child.on('close', resolve);
  });
  clearTimeout(announce);
  clearInterval(progress);
  if (code !== 0) {
    process.stderr.write(Buffer.concat(tail));
    fail(`${title.replace(/ \(.*/, '')} failed after ${seconds()} s`, hint);
  }
  if (seconds() >= 1) say(`${title.replace(/ \(.*/, '')}: done in ${seconds()} s`);
}

function fingerprint(paths, salt) {
  const hash = createHash('sha256').update(salt);
  for (const path of paths) {
    hash.update(path.slice(ROOT.length));
    if (existsSync(path)) hash.update(readFileSync(path));
  }
  return hash.digest('hex');
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function stampOf(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

function say(text) {
  process.stderr.write(`fleetgate: ${text}\n`);
}

function fail(text, hint) {
  process.stderr.write(`fleetgate: error: ${text}\nhint: ${hint}\n`);
  process.exit(1);
}

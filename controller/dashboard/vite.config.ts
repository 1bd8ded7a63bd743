import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { preact } from '@preact/preset-vite';
import { defineConfig } from 'vite';

const outDir = fileURLToPath(new URL('../dist/dashboard', import.meta.url));

export default defineConfig({
  base: './',
  plugins: [
    preact(),
    {
      // Not `emptyOutDir`: the compiler writes to the same dist folder, and what it wrote there must stay.
      name: 'remove-old-assets',
      buildStart: () => rmSync(`${outDir}/assets`, { recursive: true, force: true }),
      apply: 'build',
    },
  ],
  resolve: { conditions: ['fleetgate-source', 'module', 'browser'] },
  build: {
    outDir,
    emptyOutDir: false,
    target: 'es2022',
    // The page is served with a content security policy of 'self': no data: URIs, no inline scripts.
    assetsInlineLimit: 0,
    modulePreload: false,
  },
  // `npx vite controller/dashboard` serves the page from source, with the API of a controller that runs on this machine.
  server: { proxy: { '/api': 'http://127.0.0.1:8080', '/v1': 'http://127.0.0.1:8080' } },
});

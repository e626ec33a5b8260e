import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// The agents' desk: one page with its own root, so that its index.html lands in dist/desk.
export default defineConfig({
  root: here('./src/desk'),
  base: '/desk/',
  publicDir: false,
  plugins: [vue(), tailwindcss()],
  build: {
    outDir: here('./dist/desk'),
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // a page with a strict Content-Security-Policy has no data: scripts
  },
  server: {
    proxy: { '/api': { target: process.env.BASE_URL ?? 'http://127.0.0.1:8080', ws: true } },
  },
})

import { defineConfig } from 'vite'

// The customer page at /: an invented shop that embeds the widget as a foreign website would.
export default defineConfig({
  root: 'src/page',
  base: '/',
  publicDir: false,
  build: { outDir: '../../dist', emptyOutDir: false, target: 'es2022', cssTarget: 'esnext', modulePreload: false, assetsInlineLimit: 0 },
})

import preact from '@preact/preset-vite'
import { defineConfig } from 'vite'

// The widget: one classic script that a foreign website can embed, styles and all.
export default defineConfig({
  plugins: [preact({ devToolsEnabled: false })],
  publicDir: false,
  build: {
    outDir: 'dist',
    emptyOutDir: false,
    target: 'es2022',
    cssTarget: 'esnext', // light-dark() and nesting stay as they are written
    modulePreload: false,
    lib: { entry: 'src/widget/main.tsx', formats: ['iife'], name: 'patchbay', fileName: () => 'widget.js' },
  },
})

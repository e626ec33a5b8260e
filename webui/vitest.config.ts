import { defineConfig } from 'vitest/config'
import preact from '@preact/preset-vite'
import vue from '@vitejs/plugin-vue'

// One run for both halves; the plug-ins meet only the files they own.
export default defineConfig({
  plugins: [vue(), preact({ include: [/src\/widget\/.*\.tsx$/] })],
  test: { environment: 'happy-dom', include: ['src/**/*.test.ts', 'src/**/*.test.tsx'] },
})

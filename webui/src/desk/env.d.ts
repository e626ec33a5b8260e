// Set by build.mjs: the hash over the sources that this page was built from.
declare const __BUILD_ID__: string | undefined

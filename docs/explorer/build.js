// Packs the parts of Observable Plot and d3 that the explorer uses into vendor/plot.js, a script
// without modules, which browsers also load from the file system, and collects their licences.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const { metafile } = await build({
  stdin: {
    contents: `
      export { line, plot, ruleX, ruleY, scale } from "@observablehq/plot";
      export { select } from "d3-selection";
      export { zoom, zoomIdentity } from "d3-zoom";
    `,
    resolveDir: ".",
  },
  outfile: "vendor/plot.js",
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Plot",
  metafile: true,
});

const inputs = Object.values(metafile.outputs)[0].inputs;
const packed = Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0);
const folders = packed.map((path) => path.match(/node_modules\/(@[^/]+\/)?[^/]+/)?.[0]);
const licences = [...new Set(folders.filter(Boolean))].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
});
writeFileSync("vendor/LICENSES.txt", licences.join(`\n${"-".repeat(80)}\n\n`));

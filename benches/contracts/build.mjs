// Compiles src/*.sol and writes artifacts/*.json. Run `npm ci && npm run build` here after changing a contract.
// `npm run check` writes nothing, but fails if an artifact is not what its source compiles to.
//
// The EVM version is Petersburg: the code then runs in blocks of every later fork, and without PUSH0 and its like it
// resembles most of what is deployed.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import solc from "solc";

const checks = process.argv.includes("--check");
const root = new URL(".", import.meta.url);
const names = readdirSync(new URL("src/", root)).filter((name) => name.endsWith(".sol")).sort();
const sources = Object.fromEntries(
  names.map((name) => [name, { content: readFileSync(new URL(`src/${name}`, root), "utf8") }]),
);

const settings = {
  optimizer: { enabled: true, runs: 200 },
  viaIR: true,
  evmVersion: "petersburg",
  // Without the hash of the sources' metadata, the bytecode depends on the code alone.
  metadata: { bytecodeHash: "none" },
  outputSelection: {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers", "storageLayout"] },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
for (const { severity, formattedMessage } of output.errors ?? []) {
  console.error(formattedMessage);
  if (severity === "error") process.exit(1);
}

mkdirSync(new URL("artifacts/", root), { recursive: true });
for (const file of names) {
  const name = file.replace(/\.sol$/, "");
  const { abi, evm, storageLayout } = output.contracts[file][name];
  const artifact = {
    contract: name,
    compiler: solc.version(),
    settings: { optimizer: settings.optimizer, viaIR: settings.viaIR, evmVersion: settings.evmVersion },
    abi,
    methods: evm.methodIdentifiers,
    // The ids of the syntax tree change with every other file that is compiled along.
    storage: storageLayout.storage.map(({ label, slot, offset, type }) => ({
      label,
      slot,
      offset,
      type: storageLayout.types[type].label,
    })),
    creation: `0x${evm.bytecode.object}`,
    runtime: `0x${evm.deployedBytecode.object}`,
  };
  const path = new URL(`artifacts/${name}.json`, root);
  const text = `${JSON.stringify(artifact, null, 2)}\n`;
  if (!checks) {
    writeFileSync(path, text);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`artifacts/${name}.json is not what src/${file} compiles to: run npm run build`);
    process.exitCode = 1;
  }
  console.log(`${name}: ${evm.deployedBytecode.object.length / 2} bytes`);
}

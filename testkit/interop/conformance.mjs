// Runs scenarios of the official conformance suite against a server that asks for a token.
//
//   node conformance.mjs --spec-version 2025-11-25|2026-07-28 [--scenario NAME] URL
//
// The suite sends no credentials, so a forwarder on loopback adds the token (HAYWARD_RW_TOKEN) and
// nothing else. One line of JSON goes to stdout; the exit code says whether all scenarios passed.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const SUITE = "@modelcontextprotocol/conformance/dist/index.js";

const { values, positionals } = parseArgs({
  options: { "spec-version": { type: "string" }, scenario: { type: "string" } },
  allowPositionals: true,
});
const target = new URL(positionals[0]);
const version = values["spec-version"];
const table = JSON.parse(readFileSync(new URL("conformance.json", import.meta.url), "utf8"));
const scenarios = values.scenario ? [values.scenario] : table[version];

/** Passes everything on as it came, `Host` and `Origin` included, and adds the token. */
const forwarder = http.createServer((request, response) => {
  const headers = { authorization: `Bearer ${process.env.HAYWARD_RW_TOKEN}`, ...request.headers };
  // The server checks the port of `Host` too: the forwarder's becomes the server's.
  headers.host = headers.host?.replace(`:${forwarder.address().port}`, `:${target.port}`);
  headers.origin &&= headers.origin.replace(`:${forwarder.address().port}`, `:${target.port}`);
  const onward = http.request(
    { host: target.hostname, port: target.port, path: request.url, method: request.method, headers },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  request.pipe(onward);
});
await new Promise((resolve) => forwarder.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${forwarder.address().port}${target.pathname}`;

function run(scenario, folder) {
  const suite = join(process.env.HAYWARD_TEST_NODE_MODULES, SUITE);
  const words = ["server", "--url", url, "--scenario", scenario, "--spec-version", version, "--force"];
  const child = spawn(process.execPath, [suite, ...words, "-o", folder]);
  let said = "";
  child.stdout.on("data", (bytes) => (said += bytes));
  child.stderr.on("data", (bytes) => (said += bytes));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, said })));
}

const report = { client: `conformance ${version}`, checks: 0, failures: [] };
const folder = mkdtempSync(join(tmpdir(), "conformance-"));
for (const scenario of scenarios) {
  const { code, said } = await run(scenario, folder);
  report.checks += Number(/Passed: (\d+)/.exec(said)?.[1] ?? 0);
  if (code !== 0) report.failures.push(`${scenario}: ${said.slice(-2000)}`);
}
rmSync(folder, { recursive: true });
forwarder.close();
forwarder.closeAllConnections();
console.log(JSON.stringify(report));
process.exit(report.failures.length === 0 && report.checks > 0 ? 0 : 1);

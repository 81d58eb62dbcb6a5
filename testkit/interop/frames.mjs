// Prints what Node.js reads of our frames, one line each, in the form that the test compares.
//
//   node frames.mjs lines|events FILE
//
// Events are read by `eventsource-parser`, which the official SDK reads them with.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const [framing, file] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(file));
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
const double = new DataView(new ArrayBuffer(8));

async function dataOf(stream) {
  const modules = process.env.HAYWARD_TEST_NODE_MODULES;
  const { createParser } = await import(join(modules, "eventsource-parser/dist/index.js"));
  const data = [];
  const parser = createParser({
    onEvent: (event) => {
      if (event.event !== "message") throw new Error(`an event of type ${event.event}`);
      data.push(event.data);
    },
    onError: (error) => {
      throw error;
    },
  });
  parser.feed(stream);
  return data;
}

/** A number keeps its text beside the double that was read of it. */
class Numeral {
  constructor(source, value) {
    double.setFloat64(0, value);
    this.text = `${source}=${double.getBigUint64(0).toString(16).padStart(16, "0")}`;
  }
}

function read(message) {
  return JSON.parse(message, (_, value, { source }) =>
    typeof value === "number" ? new Numeral(source, value) : value,
  );
}

/** As `Tree::canonical` in `testkit/fuzzing` writes it. */
function canonical(value) {
  if (value instanceof Numeral) return value.text;
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return String(value);
  const members = Object.keys(value).map((key) => `${quoted(key)}:${canonical(value[key])}`);
  return `{${members.sort().join(",")}}`;
}

function quoted(words) {
  const escaped = (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0");
  return `"${words.replace(/[^ !#-[\]-~]/g, escaped)}"`;
}

const messages = framing === "lines" ? text.split("\n").slice(0, -1) : await dataOf(text);
process.stdout.write(messages.map((message) => canonical(read(message)) + "\n").join(""));

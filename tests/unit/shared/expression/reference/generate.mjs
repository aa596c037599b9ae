// Evaluates the expressions of results.json by the reference implementation, and writes its results there again:
//   npm install --no-save jsonata@2.2.2 && node generate.mjs results.json
// The expressions are written for these tests; only the results come from the reference.
import fs from "fs";
import jsonata from "jsonata";

const file = process.argv[2];
const { data, results } = JSON.parse(fs.readFileSync(file));
const { version } = JSON.parse(fs.readFileSync("node_modules/jsonata/package.json"));
const written = (value) => JSON.stringify(value, (_, each) => (typeof each === "function" ? "" : each));

for (const expression of Object.keys(results)) {
  try {
    const value = await jsonata(expression).evaluate(JSON.parse(JSON.stringify(data)));
    const text = typeof value === "function" ? undefined : written(value);
    results[expression] = text === undefined ? { undefined: true } : { value: JSON.parse(text) };
  } catch (error) {
    results[expression] = { error: String(error.code || error.message) };
  }
}
fs.writeFileSync(file, JSON.stringify({ implementation: `jsonata ${version}`, data, results }, null, 1) + "\n");

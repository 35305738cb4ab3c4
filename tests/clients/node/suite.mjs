// A test suite in another language, with nothing installed: it steers the relay by its control calls.
import assert from "node:assert/strict";
import test from "node:test";

const url = process.env.RELAY_URL;
const session = { "x-tickertape-session": "node-suite" };
const control = async (path, body) => {
  const method = body ? "POST" : "GET";
  const response = await fetch(`${url}/__tickertape__/${path}`, { method, headers: session, body: body && JSON.stringify(body) });
  assert.ok(response.ok, await response.clone().text());
  return response.json();
};
const ask = () =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...session, authorization: "Bearer sk-mine", "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-image-1.5", messages: [{ role: "user", content: "a cat" }] }),
  });

test("a 429 that is not waited for is a finding", async () => {
  await control("fail", { status: 429, retry_after: 60 });
  await control("play", { tape: "gpt-image-1.5/cat-drinking-milk" });
  assert.deepEqual([(await ask()).status, (await ask()).status], [429, 200]);
  const { calls } = await control("journal");
  assert.deepEqual(calls.map((call) => [call.status, call.attempt]), [[429, 1], [200, 2]]);
  const verdict = await control("verdict");
  assert.equal(verdict.passed, false);
  assert.deepEqual(verdict.findings.map(({ name }) => name), ["retry_after_ignored"]);
  assert.equal((await control("reset", {})).forgot.calls, 2);
});

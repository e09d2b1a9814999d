// OpenAI's own client against `brimful serve`. Usage: node openai_client.mjs PROGRAM MODEL CLIENT_FOLDER
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [program, model, client] = process.argv.slice(2);
const { default: OpenAI } = await import(`${client}/index.mjs`);

const state = await mkdtemp(join(tmpdir(), "brimful-client-"));
process.on("exit", () => rmSync(state, { recursive: true, force: true }));
const server = spawn(program, ["serve", "-m", model, "--port", "0", "-t", "1", "--ram", "256MiB", "--api-key", "secret",
                               "--served-model-name", "stories", "--state", state], { stdio: ["ignore", "ignore", "pipe"] });
let said = "";
const port = await new Promise((found, failed) => {
  server.stderr.on("data", (text) => {
    said += text;
    const at = said.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
    if (at) found(Number(at[1]));
  });
  server.on("exit", () => failed(new Error(said)));
});
const openai = new OpenAI({ apiKey: "secret", baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 });
const messages = [{ role: "system", content: "Be short." }, { role: "user", content: "Hello" }];

const checks = {
  async "models are listed and found"() {
    const all = [];
    for await (const one of openai.models.list()) all.push(one.id);
    assert.deepEqual(all, ["stories"]);
    assert.equal((await openai.models.retrieve("stories")).object, "model");
    await assert.rejects(openai.models.retrieve("other"), OpenAI.NotFoundError);
  },
  async "texts become vectors"() {
    const floats = await openai.embeddings.create({ model: "stories", input: ["Hello", "a dog"], encoding_format: "float" });
    const usual = await openai.embeddings.create({ model: "stories", input: ["Hello", "a dog"] });
    assert.equal(floats.data.length, 2);
    assert.deepEqual(usual.data.map((one) => one.embedding), floats.data.map((one) => one.embedding));
  },
  async "a batch goes through all its states"() {
    const lines = [0, 1, 2].map((i) => JSON.stringify({ custom_id: `r${i}`, method: "POST", url: "/v1/chat/completions",
      body: { model: "stories", messages, max_tokens: 5 } }));
    const file = await openai.files.create({ purpose: "batch", file: await OpenAI.toFile(Buffer.from(lines.join("\n")), "in.jsonl") });
    assert.equal((await openai.files.retrieve(file.id)).filename, "in.jsonl");
    let batch = await openai.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions",
                                              completion_window: "24h", metadata: { who: "me" } });
    while (batch.status !== "completed") {
      assert.ok(["validating", "in_progress", "finalizing"].includes(batch.status), batch.status);
      await new Promise((soon) => setTimeout(soon, 50));
      batch = await openai.batches.retrieve(batch.id);
    }
    assert.deepEqual(batch.request_counts, { total: 3, completed: 3, failed: 0 });
    assert.equal(batch.metadata.who, "me");
    const answers = (await (await openai.files.content(batch.output_file_id)).text()).trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(answers.map((answer) => answer.custom_id), ["r0", "r1", "r2"]);
    const listed = [];
    for await (const one of openai.batches.list({ limit: 1 })) listed.push(one.id);
    assert.deepEqual(listed, [batch.id]);
    const files = [];
    for await (const one of openai.files.list({ limit: 1 })) files.push(one.id);
    assert.equal(files.length, 2);
    await assert.rejects(openai.batches.cancel(batch.id), OpenAI.BadRequestError);
    assert.ok((await openai.files.delete(file.id)).deleted);
    await assert.rejects(openai.files.retrieve(file.id), OpenAI.NotFoundError);
  },
  async "a chat, whole"() {
    const answer = await openai.chat.completions.create(
      { model: "stories", messages, max_completion_tokens: 8, logprobs: true, top_logprobs: 2, seed: 7 });
    const choice = answer.choices[0];
    assert.equal(choice.message.role, "assistant");
    assert.equal(choice.finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 8);
    assert.equal(choice.logprobs.content.length, 8);
    assert.equal(choice.logprobs.content[0].top_logprobs.length, 2);
  },
  async "the same seed gives the same chat"() {
    const ask = () => openai.chat.completions.create({ model: "stories", messages, max_tokens: 8, seed: 7, temperature: 1 });
    assert.equal((await ask()).choices[0].message.content, (await ask()).choices[0].message.content);
  },
  async "a chat in pieces is the whole one"() {
    const body = { model: "stories", messages, max_tokens: 12, temperature: 0 };
    const whole = (await openai.chat.completions.create(body)).choices[0].message.content;
    const stream = await openai.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } });
    let text = "", usage = null, reason = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      reason = chunk.choices[0]?.finish_reason ?? reason;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole);
    assert.equal(reason, "length");
    assert.equal(usage.completion_tokens, 12);
  },
  async "the client's own stream helper understands it"() {
    const runner = openai.chat.completions.stream({ model: "stories", messages, max_tokens: 6, temperature: 0 });
    const final = await runner.finalChatCompletion();
    assert.equal(final.choices[0].finish_reason, "length");
    assert.ok(final.choices[0].message.content.length > 0);
  },
  async "a JSON schema is followed"() {
    const schema = { type: "object", properties: { age: { type: "integer" } }, required: ["age"], additionalProperties: false };
    const answer = await openai.chat.completions.create(
      { model: "stories", messages, max_tokens: 60, temperature: 0,
        response_format: { type: "json_schema", json_schema: { name: "person", schema } } });
    assert.equal(typeof JSON.parse(answer.choices[0].message.content).age, "number");
  },
  async "tools are taken, and no call is made up"() {
    const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];
    const answer = await openai.chat.completions.create({ model: "stories", messages, tools, max_tokens: 8, temperature: 0 });
    assert.equal(answer.choices[0].finish_reason, "length");
  },
  async "a completion, with a stop string"() {
    const body = { model: "stories", prompt: "Once upon a time", max_tokens: 60, temperature: 0 };
    const whole = (await openai.completions.create(body)).choices[0];
    const word = whole.text.trim().split(/\s+/)[3];
    const cut = (await openai.completions.create({ ...body, stop: word })).choices[0];
    assert.equal(cut.finish_reason, "stop");
    assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf(word)));
  },
  async "a completion in pieces"() {
    let text = "";
    for await (const chunk of await openai.completions.create(
      { model: "stories", prompt: "Once upon a time", max_tokens: 9, temperature: 0, stream: true })) text += chunk.choices[0].text;
    assert.ok(text.length > 0);
  },
  async "errors are the client's own"() {
    const ask = (more) => openai.chat.completions.create({ model: "stories", messages, ...more });
    await assert.rejects(ask({ temperature: 9 }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
    await assert.rejects(new OpenAI({ apiKey: "no", baseURL: openai.baseURL, maxRetries: 0 }).models.list(),
                         OpenAI.AuthenticationError);
  },
  async "a stream that is left ends"() {
    const stream = await openai.chat.completions.create({ model: "stories", messages, stream: true, temperature: 0 });
    for await (const _ of stream) break;
    const answer = await openai.completions.create({ model: "stories", prompt: "And", max_tokens: 2 });
    assert.equal(answer.usage.completion_tokens, 2);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok: ${name}`);
  } catch (error) {
    ++failed;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
server.kill("SIGTERM");
const [code] = await once(server, "exit");
assert.equal(code, 0, said);
process.exit(failed > 0 ? 1 : 0);

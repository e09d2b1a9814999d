// Client libraries against `brimful serve` with a model that says a scripted text: tool loops and structured outputs.
// Usage: node clients.mjs PROGRAM WRITER_OF_MODELS FOLDER
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool as langchainTool } from "@langchain/core/tools";
import { Agent, OpenAIChatCompletionsModel, run, setTracingDisabled, tool as agentTool } from "@openai/agents";
import { generateText, Output, stepCountIs, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [program, writer, folder] = process.argv.slice(2);

// It calls a tool; after the tool's answer it answers; asked for JSON, it writes some.
const script = {
  tokens: ["I look", ".", "<tool_call>", "\n{\"name\": \"look\", ", "\"arguments\": {\"at\": \"mo", "on\"}}\n", "</tool_call>"],
  others: { "<|told|>": ["It is", " there", "!"], "<|json|>": ["{\"place\":", " \"sky", "\"}"] },
  control: ["<tool_call>", "</tool_call>", "<|im_start|>", "<|im_end|>", "<|told|>", "<|json|>"],
  trained_context: 4096,
  chat_template: `{%- if tools %}{{- '<|im_start|>system\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}{{- '\\n</tools><|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}
{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if messages[-1].role == 'tool' %}{{- '<|told|>' }}{%- elif 'JSON' in messages[-1].content %}{{- '<|json|>' }}{%- endif %}{%- endif %}`,
};
const written = spawnSync(writer, [folder], { input: JSON.stringify(script), encoding: "utf8" });
assert.equal(written.status, 0, written.stderr);
const server = spawn(program, ["serve", "-m", written.stdout.trim(), "--port", "0", "-t", "1", "--ram", "512MiB", "--api-key", "secret",
                               "--served-model-name", "script", "--state", `${folder}/state`], { stdio: ["ignore", "ignore", "pipe"] });
let said = "";
const port = await new Promise((found, failed) => {
  server.stderr.on("data", (text) => {
    said += text;
    const at = said.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
    if (at) found(Number(at[1]));
  });
  server.on("exit", () => failed(new Error(said)));
});
const baseURL = `http://127.0.0.1:${port}/v1`;
const openai = new OpenAI({ apiKey: "secret", baseURL, maxRetries: 0 });
const place = z.object({ place: z.string() });
const where = z.object({ at: z.string() });

/// A tool that counts its calls and checks what it is asked.
function counted() {
  let calls = 0;
  const look = async ({ at }) => { calls += 1; assert.equal(at, "moon"); return "there"; };
  return { look, get calls() { return calls; } };
}

const checks = {
  async "openai runs its tool loop, whole and streamed"() {
    for (const stream of [false, true]) {
      const tool = counted();
      const runner = openai.chat.completions.runTools({
        model: "script", stream, temperature: 0, messages: [{ role: "user", content: "Where?" }],
        tools: [{ type: "function", function: { name: "look", description: "Looks.", parse: JSON.parse, function: tool.look,
                                                parameters: { type: "object", properties: { at: { type: "string" } }, required: ["at"] } } }] });
      assert.equal(await runner.finalContent(), "It is there!");
      assert.equal(tool.calls, 1);
    }
  },
  async "openai reads a structured output"() {
    const answer = await openai.chat.completions.parse({
      model: "script", temperature: 0, messages: [{ role: "user", content: "JSON" }],
      response_format: { type: "json_schema", json_schema: { name: "place", strict: true, schema: { type: "object", properties: { place: { type: "string" } }, required: ["place"], additionalProperties: false } } } });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { place: "sky" });
  },
  async "the AI SDK runs its tool loop, whole and streamed"() {
    const provider = createOpenAICompatible({ name: "brimful", baseURL, apiKey: "secret", supportsStructuredOutputs: true });
    for (const generate of [generateText, streamText]) {
      const tool = counted();
      const result = await generate({ model: provider("script"), prompt: "Where?", temperature: 0, stopWhen: stepCountIs(4),
                                      tools: { look: aiTool({ description: "Looks.", inputSchema: where, execute: tool.look }) } });
      assert.equal(await result.text, "It is there!");
      assert.equal(tool.calls, 1);
    }
  },
  async "the AI SDK reads a structured output"() {
    const provider = createOpenAICompatible({ name: "brimful", baseURL, apiKey: "secret", supportsStructuredOutputs: true });
    const { output } = await generateText({ model: provider("script"), prompt: "JSON", temperature: 0, output: Output.object({ schema: place }) });
    assert.deepEqual(output, { place: "sky" });
  },
  async "LangChain calls a tool and reads a structured output"() {
    const model = new ChatOpenAI({ model: "script", temperature: 0, apiKey: "secret", configuration: { baseURL } });
    const tool = counted();
    const look = langchainTool(tool.look, { name: "look", description: "Looks.", schema: where });
    const bound = model.bindTools([look]);
    const messages = [new HumanMessage("Where?")];
    const called = await bound.invoke(messages);
    assert.equal(called.tool_calls.length, 1);
    messages.push(called, new ToolMessage({ content: await look.invoke(called.tool_calls[0].args), tool_call_id: called.tool_calls[0].id }));
    assert.equal((await bound.invoke(messages)).content, "It is there!");
    let streamed;
    for await (const chunk of await bound.stream([new HumanMessage("Where?")])) streamed = streamed ? streamed.concat(chunk) : chunk;
    assert.equal(streamed.tool_calls[0].name, "look");
    assert.deepEqual(streamed.tool_calls[0].args, { at: "moon" });
    const structured = model.withStructuredOutput(place, { method: "jsonSchema" });
    assert.deepEqual(await structured.invoke("JSON"), { place: "sky" });
  },
  async "OpenAI's agents run their tool loop and read a structured output"() {
    setTracingDisabled(true);
    const model = new OpenAIChatCompletionsModel(openai, "script");
    const tool = counted();
    const look = agentTool({ name: "look", description: "Looks.", parameters: where, execute: tool.look });
    const agent = new Agent({ name: "finder", instructions: "Find it.", model, tools: [look], modelSettings: { temperature: 0 } });
    assert.equal((await run(agent, "Where?")).finalOutput, "It is there!");
    assert.equal(tool.calls, 1);
    const typed = new Agent({ name: "typist", instructions: "Write.", model, outputType: place, modelSettings: { temperature: 0 } });
    assert.deepEqual((await run(typed, "JSON")).finalOutput, { place: "sky" });
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n`, error);
  }
}
server.kill("SIGTERM");
await once(server, "exit");
process.exit(failed ? 1 : 0);

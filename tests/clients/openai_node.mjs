// Run where the official OpenAI SDK and ws are installed: what it is used for here, against two gateways. Prints what
// came of it as JSON.
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const [baseURL, otherURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0 });
const other = new OpenAI({ baseURL: otherURL, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];

async function chat() {
  const answer = await client.chat.completions.create({ model: "echo", messages });
  return [answer.choices[0].message.content, answer.choices[0].finish_reason];
}

async function chatStream() {
  let text = "";
  let last;
  const options = { include_usage: true };
  for await (const chunk of await client.chat.completions.create({ model: "echo", messages, stream: true, stream_options: options })) {
    text += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }
  return [text, last.usage.total_tokens > 0];
}

async function errors() {
  const found = {};
  for (const [name, fields] of Object.entries({ model: { model: "gpt-none" }, n: { n: 2 } })) {
    try {
      await client.chat.completions.create({ model: "echo", messages, ...fields });
    } catch (error) {
      found[name] = [error.constructor.name, error.status, error.code, error.param];
    }
  }
  return found;
}

async function responses() {
  const first = await client.responses.create({ model: "echo", input: "Hello" });
  const second = await other.responses.create({ model: "echo", input: "Bye", previous_response_id: first.id });
  const again = await other.responses.retrieve(second.id);
  return [first.output_text, second.output_text, again.output_text];
}

async function resume() {
  const heard = [];
  const stream = await client.responses.create({ model: "echo", input: "Hello", stream: true, background: true });
  for await (const event of stream) {
    heard.push(event);
    if (event.sequence_number === 5) break;
  }
  const id = heard[0].response.id;
  for await (const event of await other.responses.retrieve(id, { stream: true, starting_after: 5 })) heard.push(event);
  const text = heard.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  return [text, heard.every((event, number) => event.sequence_number === number), heard.at(-1).type];
}

async function cancel() {
  for (;;) {
    const long = await client.responses.create({ model: "echo", input: "Hello", background: true });
    const cancelled = await other.responses.cancel(long.id);
    if (cancelled.status !== "completed") return [long.status, cancelled.status]; // else it was faster than we
  }
}

async function socket() {
  const ws = new ResponsesWS(client);
  let text = "";
  const ended = new Promise((resolve, reject) => {
    ws.on("response.output_text.delta", (event) => (text += event.delta));
    ws.on("response.completed", resolve);
    ws.on("error", reject);
  });
  ws.send({ type: "response.create", model: "echo", input: "Hello" });
  await ended;
  const refused = new Promise((resolve) => ws.on("error", (error) => resolve(error.error)));
  ws.send({ type: "response.create", model: "gpt-none", input: "Hello" });
  const error = await refused;
  ws.close();
  return [text, error.status, error.error.code];
}

const found = {};
for (const work of [chat, chatStream, errors, responses, resume, cancel, socket]) found[work.name] = await work();
console.log(JSON.stringify(found));

// The AI SDK's chat, as `useChat` has it, driven from the command line: node chat.mjs MODULES URL CHAT
// Reads orders as JSON lines from stdin, writes what became of each as one JSON line.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, api, id] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const { AbstractChat, DefaultChatTransport } = await import(pathToFileURL(require.resolve("ai")));

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.map((old, at) => (at === index ? message : old)));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor() {
    super({ id, state: new State(), transport: new DefaultChatTransport({ api }) });
  }
}

const chat = new Chat();
const text = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "send") await chat.sendMessage({ text: order.text });
  if (order.do === "regenerate") await chat.regenerate();
  if (order.do === "resume") await chat.resumeStream();
  if (order.do === "begin") void chat.sendMessage({ text: order.text });
  if (order.do === "drop") await chat.stop();
  while (order.until && !chat.messages.some((message) => message.role === "assistant" && text(message).includes(order.until)))
    await new Promise((next) => setTimeout(next, 10));
  const messages = chat.messages.map((message) => ({ id: message.id, role: message.role, text: text(message) }));
  console.log(JSON.stringify({ status: chat.status, error: chat.error?.message ?? null, messages }));
}

// The openai SDK on Node: streams, reads progress, downloads; tells all of it as JSON. OPENAI_BASE_URL is the relay.
import OpenAI from "openai";

const bytes = [];
const client = new OpenAI({
  maxRetries: 0,
  // The SDK's own fetch, with the body as it came put aside.
  fetch: async (url, init) => {
    const response = await fetch(url, init);
    const [seen, kept] = response.body.tee();
    bytes.push(new Response(kept).arrayBuffer());
    return new Response(seen, response);
  },
});
const messages = [{ role: "user", content: "a cat" }];
const stream = await client.chat.completions.create({ model: "gpt-image-1.5", messages, stream: true });
let content = "";
const progress = [];
for await (const chunk of stream) {
  content += chunk.choices[0]?.delta?.content ?? "";
  const [percent] = content.match(/(?<=(?:进度|\.\.)\s*)\d+(?=\.\.$)/) ?? [];
  if (percent && progress.at(-1) !== Number(percent)) progress.push(Number(percent));
}
const links = [...content.matchAll(/\((http[^)]+\/cdn\/[^)]+)\)/g)].map(([, url]) => url);
const media = await Promise.all(links.map(async (url) => (await fetch(url)).arrayBuffer()));
const base64 = (buffer) => Buffer.from(buffer).toString("base64");
console.log(JSON.stringify({ body: base64(await bytes[0]), progress, media: media.map(base64) }));

// Sends calls with Segment's SDK for Node: reads {writeKey, host, calls} from standard input, where a call is
// [method, fields], and ends when everything was answered. Errors of the SDK go to standard error.
const { Analytics } = require("@segment/analytics-node");
const { text } = require("node:stream/consumers");

async function main() {
  const { writeKey, host, calls } = JSON.parse(await text(process.stdin));
  const analytics = new Analytics({ writeKey, host, flushAt: 5 });
  analytics.on("error", ({ code, reason }) => console.error(`${code}: ${reason?.message ?? reason}`));
  for (const [method, fields] of calls) analytics[method](fields);
  await analytics.closeAndFlush({ timeout: 20000 });
}

main();

// node --experimental-websocket subject.js LIBRARY JSON: as subject.py, with the JavaScript client.

const [library, json] = process.argv.slice(2);
const { fileStore, isControl, Sender, subscribe, TrelayStopped } = await import(library);
const given = JSON.parse(json);
const say = (found) => console.log(JSON.stringify(found));

async function send(sender, ids) {
  for (const id of ids) {
    await sender.send({ sent: id }, { id });
    say({ stored: id });
  }
}

const sender = given.send === undefined ? undefined : new Sender();
const events = subscribe(given.url, {
  credentials:
    given.token === undefined
      ? { clientId: given.clientId ?? "demo", clientSecret: given.clientSecret ?? "demo" }
      : { token: given.token },
  channels: given.channels,
  store: given.store === undefined ? undefined : fileStore(given.store),
  snapshot: given.snapshot,
  since: given.since,
  filters: given.filters,
  answerHeartbeats: given.answerHeartbeats,
  transport: "websocket",
  sender,
  onRetry: (retry, pause) => say({ retry, pause: pause / 1000 }),
  onUnreadable: (unreadable) => say({ unreadable }),
});
try {
  if (sender !== undefined) void send(sender, given.send);
  for await (const event of events) {
    if (isControl(event)) {
      say({ control: event.type, data: event.data });
      continue;
    }
    say({ number: event.data.number ?? event.data });
    if (given.busy !== undefined) await new Promise((resolve) => setTimeout(resolve, given.busy * 1000));
    given.busy = undefined;
  }
} catch (error) {
  if (error instanceof TrelayStopped) say({ stopped: error.code, text: error.message });
  else say({ error: String(error) });
}

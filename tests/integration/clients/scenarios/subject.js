// node --experimental-websocket subject.js LIBRARY JSON: as subject.py, with the JavaScript client.

const [library, json] = process.argv.slice(2);
const { Channels, fileStore, isControl, Sender, subscribe, TrelayChangeRefused, TrelayStopped } = await import(library);
const given = JSON.parse(json);
const say = (found) => console.log(JSON.stringify(found));

async function send(sender, ids) {
  for (const id of ids) {
    await sender.send({ sent: id }, { id });
    say({ stored: id });
  }
}

async function change(channels, { subscribe, unsubscribe, filters }) {
  try {
    if (subscribe !== undefined) await channels.subscribe(subscribe, { filters });
    else await channels.unsubscribe(unsubscribe);
    say({ changed: channels.names.sort() });
  } catch (error) {
    say(error instanceof TrelayChangeRefused ? { refused: error.code } : { failed: String(error) });
  }
}

const channels = given.changes === undefined ? given.channels : new Channels(given.channels);
const sender = given.send === undefined ? undefined : new Sender();
const events = subscribe(given.url, {
  credentials:
    given.token === undefined
      ? { clientId: given.clientId ?? "demo", clientSecret: given.clientSecret ?? "demo" }
      : { token: given.token },
  channels,
  store: given.store === undefined ? undefined : fileStore(given.store),
  snapshot: given.snapshot,
  since: given.since,
  filters: given.filters,
  answerHeartbeats: given.answerHeartbeats,
  transport: given.transport ?? "websocket",
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
    const number = event.data.number ?? event.data;
    say({ number });
    if (given.changes?.[number] !== undefined) await change(channels, given.changes[number]);
    if (given.busy !== undefined) await new Promise((resolve) => setTimeout(resolve, given.busy * 1000));
    given.busy = undefined;
  }
} catch (error) {
  if (error instanceof TrelayStopped) say({ stopped: error.code, text: error.message });
  else say({ error: String(error) });
}

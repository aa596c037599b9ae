// node --experimental-websocket sender.js LIBRARY URL ID SECRET COUNT: sends numbers, and prints those that are stored.

const [library, url, clientId, clientSecret, count] = process.argv.slice(2);
const { Sender, subscribe } = await import(library);

const sender = new Sender();
const controller = new AbortController();
const events = subscribe(url, {
  credentials: { clientId, clientSecret },
  sender,
  signal: controller.signal,
  onRetry: (reason, pause) => console.error(reason, pause),
});
for await (const event of events) {
  if (event.type !== "trelay.connected") continue;
  const all = [...Array(Number(count)).keys()].map(async (number) => {
    const { event: stored } = await sender.send(number, { id: `reading-${number}` });
    console.log(number, stored);
  });
  await Promise.all(all); // the program is busy: lost connections are opened again meanwhile
  break;
}
console.log("done");

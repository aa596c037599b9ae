// node subscriber.js LIBRARY URL CURSOR_FILE TRANSPORT [SINCE]: prints the number of each event, and what is not one.

const [library, url, path, transport, since] = process.argv.slice(2);
const { fileStore, isControl, subscribe } = await import(library);

const events = subscribe(url, {
  credentials: { clientId: "demo", clientSecret: "demo" },
  store: fileStore(path),
  transport,
  since,
  onRetry: (reason, pause) => console.error(reason, pause),
});
for await (const event of events) {
  console.log(isControl(event) ? event.type : event.data.number);
}

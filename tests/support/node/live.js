// A client that follows, for the tests: `node live.js ws|sio URL OPTIONS`. Each thing that happens is a
// line of JSON on standard output: {"what": ..., ...}. OPTIONS is JSON: `headers` of the request; for
// `ws`, `say`, a text to send, and `stall`, whether nothing is read; for `sio`, `transports`, `auth`, and
// `subscribe`, projects to follow. Lines of standard input are [event, argument] to emit.
'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');
const readline = require('node:readline');

const need = createRequire(path.join(process.env.EXPORTER_MODULES, 'index.js'));
const [, , kind, url, text] = process.argv;
const options = JSON.parse(text);
const tell = (what, more) => console.log(JSON.stringify({ what, ...more }));

function follow() {
  const WebSocket = need('ws');
  const socket = new WebSocket(url, { headers: options.headers });
  socket.on('open', () => {
    tell('open');
    if (options.stall) socket.pause();
    if (options.say) socket.send(options.say);
  });
  socket.on('message', (data) => tell('message', { data: JSON.parse(data.toString()) }));
  socket.on('ping', (data) => tell('ping', { data: data.toString() }));
  socket.on('unexpected-response', (_, response) => {
    tell('refused', { status: response.statusCode });
    process.exit(0);
  });
  socket.on('close', (code, reason) => {
    tell('close', { code, reason: reason.toString() });
    process.exit(0);
  });
  socket.on('error', (error) => tell('failed', { message: error.message }));
}

function subscribe() {
  const { io } = need('socket.io-client');
  const socket = io(url, {
    transports: options.transports,
    extraHeaders: options.headers,
    auth: options.auth,
    reconnection: false,
  });
  socket.on('connect', () => {
    tell('connect');
    for (const project of options.subscribe ?? []) socket.emit('subscribe', project);
    socket.io.engine.on('upgrade', (transport) => tell('upgrade', { name: transport.name }));
  });
  socket.on('connect_error', (error) => {
    tell('connect_error', { message: error.message });
    process.exit(0);
  });
  for (const name of ['subscribed', 'unsubscribed', 'error', 'event', 'missed']) {
    socket.on(name, (data) => tell(name, { data }));
  }
  socket.on('disconnect', (reason) => {
    tell('disconnect', { reason });
    process.exit(0);
  });
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    socket.emit(...JSON.parse(line));
  });
}

(kind === 'ws' ? follow : subscribe)();

// A reference client of the streams without I/O, and a check of it against the recordings.
//
//     node follow.mjs [RECORDING...]
//
// Call the methods of `Follower` or `ManyFollower` with what arrives on the connection, and perform
// the actions that they return, in order. The check exits with 1 at the first difference. No
// packages are needed; `docs/streams.md` explains the rules.

import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

const RECORDINGS = fileURLToPath(new URL("recordings", import.meta.url));

const FINAL = new Set(["confirmed", "failed"]);
const END = 1000;
const LOST = 1006;
const NOT_FOUND = 4404;
const REFUSALS = new Set([1002, 1007, 1008, 1009, 4400, 4401, 4403]); // a reconnect does not help

// errors of the multiplexed stream, as the close codes that mean the same for one order
const ERRORS = new Map([["order_not_found", NOT_FOUND], ["store_unavailable", LOST]]);
const BAD_REQUEST = 4400; // any other error

// Follows one order after the seq `after`. Each method returns the actions to perform:
//
//   {connect: seq}     connect with ?after=seq: immediately at the start, later after a pause
//   {deliver: frame}   process the frame; each status is delivered once, and in order
//   {hangUp: true}     close this connection, and ignore what still arrives on it
//   {outcome: word}    stop, with "ended", "not_found" or "refused"
export class Follower {
  #last;
  #hasEnded = false;

  constructor({ after = 0 } = {}) {
    this.#last = after;
  }

  start() {
    return [{ connect: this.#last }];
  }

  received(message) {
    if (this.#hasEnded || "type" in message) return []; // a ping, or a message of a later engine
    if (message.seq <= this.#last) return [];
    if (message.seq > this.#last + 1) return this.#hangUp();
    this.#last = message.seq;
    const delivery = { deliver: message };
    return FINAL.has(message.status) ? [delivery, ...this.#end("ended")] : [delivery];
  }

  // Nothing arrived for 45 s, not even a ping.
  silent() {
    return this.#hasEnded ? [] : this.#hangUp();
  }

  // The engine closed with this code; 1006 when the connection was lost.
  closed(code) {
    if (this.#hasEnded) return [];
    if (code === END) return this.#end("ended");
    if (code === NOT_FOUND) return this.#end("not_found");
    if (REFUSALS.has(code)) return this.#end("refused");
    return [{ connect: this.#last }];
  }

  #hangUp() {
    return [{ hangUp: true }, { connect: this.#last }];
  }

  #end(word) {
    this.#hasEnded = true;
    return [{ outcome: word }];
  }
}

// Follows many orders over one connection, each after its own seq. Instead of `connect` it returns
// these actions, and each outcome has an `orderId`:
//
//   {open: true}       connect to /api/stream: immediately at the start, later after a pause
//   {send: request}    send this message; after a pause when it answers `store_unavailable`
export class ManyFollower {
  #orders;
  #gapRequests = new Map(); // the seq of the last request to fill a gap

  constructor({ after }) {
    const orders = Object.entries(after);
    this.#orders = new Map(orders.map(([id, seq]) => [id, new Follower({ after: seq })]));
  }

  start() {
    return [{ open: true }, ...this.#each((order) => order.start())];
  }

  received(message) {
    const { orderId, type: kind } = message;
    const order = this.#orders.get(orderId);
    if (order === undefined) return []; // a ping, or a message of an order that has ended
    const resume = order.start();
    const isRequested = this.#gapRequests.get(orderId) === resume[0].connect;
    let actions = [];
    if (!Object.hasOwn(message, "type")) {
      actions = order.received(message);
      if (actions.some((action) => "hangUp" in action)) {
        this.#gapRequests.set(orderId, resume[0].connect);
        actions = isRequested ? [] : resume;
      }
    } else if (kind === "end") {
      // an `end` that was sent before the gap was noticed is ignored: another follows
      actions = isRequested ? resume : order.closed(END);
    } else if (kind === "error") {
      actions = order.closed(ERRORS.get(message.code) ?? BAD_REQUEST);
    }
    return this.#translated(orderId, actions);
  }

  silent() {
    return this.#orders.size > 0 ? [{ hangUp: true }, ...this.closed(LOST)] : [];
  }

  closed(code) {
    this.#gapRequests.clear();
    const meaning = [END, NOT_FOUND].includes(code) ? LOST : code; // these are about one order
    const actions = this.#each((order) => order.closed(meaning));
    return this.#orders.size > 0 ? [{ open: true }, ...actions] : actions;
  }

  #each(act) {
    return [...this.#orders].flatMap(([id, order]) => this.#translated(id, act(order)));
  }

  // The actions of one order's follower, translated to the shared connection.
  #translated(orderId, actions) {
    return actions.map((action) => {
      if ("connect" in action) {
        return { send: { op: "subscribe", orderId, after: action.connect } };
      }
      if (!("outcome" in action)) return action;
      this.#orders.delete(orderId);
      return { ...action, orderId };
    });
  }
}

class Difference extends Error {}

// Replays what the engine did; throws a Difference when the follower's actions differ.
function replay(path) {
  const name = basename(path);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const follower = newFollower(lines[0]);
  let actions = follower.start();
  lines.forEach((line, index) => {
    if (index === 0) return;
    const nextActions = actionsAfter(follower, line);
    const where = `${name}:${index + 1}`;
    if (nextActions === undefined) {
      const action = actions.shift();
      if (!isDeepStrictEqual(action, line)) {
        throw new Difference(`${where}: expected ${formatted(line)}, got ${formatted(action)}`);
      }
    } else if (actions.length > 0) {
      throw new Difference(`${where}: expected no action, got ${formatted(actions[0])}`);
    } else {
      actions = nextActions;
    }
  });
  if (actions.length > 0) {
    throw new Difference(`${name}: expected no further action, got ${formatted(actions[0])}`);
  }
}

// The follower for the first line of a recording.
function newFollower({ after, orders }) {
  return orders === undefined ? new Follower({ after }) : new ManyFollower({ after: orders });
}

// The follower's actions after a line of the engine; undefined for a line of the client.
function actionsAfter(follower, line) {
  if ("message" in line) return follower.received(line.message);
  if ("closed" in line) return follower.closed(line.closed);
  if ("silence" in line) return follower.silent();
  return undefined;
}

function formatted(value) {
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function recordings(names) {
  if (names.length > 0) return names;
  const found = readdirSync(RECORDINGS).filter((name) => name.endsWith(".jsonl"));
  return found.sort().map((name) => join(RECORDINGS, name));
}

function main(names) {
  const paths = recordings(names);
  try {
    paths.forEach(replay);
  } catch (error) {
    if (!(error instanceof Difference)) throw error;
    console.error(error.message);
    return 1;
  }
  if (paths.length === 0) {
    console.error("no recordings found");
    return 1;
  }
  console.log(`${paths.length} recordings replayed, no difference`);
  return 0;
}

process.exitCode = main(process.argv.slice(2));

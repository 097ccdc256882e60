// The rules of a stream's client in some lines, and a check of them against the recordings.
//
//     node follow.mjs [RECORDING...]
//
// `Follower` and `ManyFollower` do no I/O: tell them what came, and do what they answer. Replaying
// ends with 1 at the first difference. No packages; `docs/streams.md` explains the rules.

import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

const RECORDINGS = fileURLToPath(new URL("recordings", import.meta.url));

const FINAL = new Set(["confirmed", "failed"]);
const END = 1000;
const LOST = 1006;
const NOT_FOUND = 4404;
const REFUSALS = new Set([1002, 1007, 1008, 1009, 4400, 4401, 4403]); // asking again does not help

// what an error of the multiplexed stream comes to, as the code that says the same of one order
const ERRORS = new Map([["order_not_found", NOT_FOUND], ["store_unavailable", LOST]]);
const BAD_REQUEST = 4400; // any other

// Follows one order from `after` on; every method answers with what to do, in order.
//
//   {connect: seq}     open a connection with ?after=seq; a second time, after a pause
//   {deliver: frame}   pass it on: each status once, and in order
//   {hangUp: true}     close this connection, whose word is not to be trusted any more
//   {outcome: word}    it is over: "ended", "not_found" or "refused"
export class Follower {
  #last;
  #over = false;

  constructor({ after = 0 } = {}) {
    this.#last = after;
  }

  start() {
    return [{ connect: this.#last }];
  }

  received(message) {
    if (this.#over || "type" in message) return []; // a ping, or what a later engine says
    if (message.seq <= this.#last) return [];
    if (message.seq > this.#last + 1) return this.#hangUp();
    this.#last = message.seq;
    const delivery = { deliver: message };
    return FINAL.has(message.status) ? [delivery, ...this.#end("ended")] : [delivery];
  }

  // nothing came for 45 s, not even a ping
  silent() {
    return this.#over ? [] : this.#hangUp();
  }

  // by the engine; 1006 where it was lost without a word
  closed(code) {
    if (this.#over) return [];
    if (code === END) return this.#end("ended");
    if (code === NOT_FOUND) return this.#end("not_found");
    if (REFUSALS.has(code)) return this.#end("refused");
    return [{ connect: this.#last }];
  }

  #hangUp() {
    return [{ hangUp: true }, { connect: this.#last }];
  }

  #end(word) {
    this.#over = true;
    return [{ outcome: word }];
  }
}

// Follows many orders over one connection, each from its own seq on; answers besides
//
//   {open: true}       open a connection to /api/stream; a second time, after a pause
//   {send: request}    say this; after a pause where it was answered with `store_unavailable`
//
// and names the order in an outcome.
export class ManyFollower {
  #orders;
  #asked = new Map(); // to have a gap filled, after which seq

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
    if (order === undefined) return []; // a ping, or of an order that is over
    const resume = order.start();
    const isAsked = this.#asked.get(orderId) === resume[0].connect;
    let actions = [];
    if (!Object.hasOwn(message, "type")) {
      actions = order.received(message);
      if (actions.some((action) => "hangUp" in action)) {
        this.#asked.set(orderId, resume[0].connect);
        actions = isAsked ? [] : resume;
      }
    } else if (kind === "end") {
      actions = isAsked ? resume : order.closed(END); // under way when the gap was seen
    } else if (kind === "error") {
      actions = order.closed(ERRORS.get(message.code) ?? BAD_REQUEST);
    }
    return this.#named(orderId, actions);
  }

  silent() {
    return this.#orders.size > 0 ? [{ hangUp: true }, ...this.closed(LOST)] : [];
  }

  closed(code) {
    this.#asked.clear();
    const meant = [END, NOT_FOUND].includes(code) ? LOST : code; // these speak of one order
    const actions = this.#each((order) => order.closed(meant));
    return this.#orders.size > 0 ? [{ open: true }, ...actions] : actions;
  }

  #each(act) {
    return [...this.#orders].flatMap(([id, order]) => this.#named(id, act(order)));
  }

  // What one order's follower would do with a connection of its own, done with this one.
  #named(orderId, actions) {
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

// Tells a follower what the engine did; throws a Difference unless it does what is recorded.
function replay(path) {
  const name = basename(path);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const follower = aFollower(lines[0]);
  let actions = follower.start();
  lines.forEach((line, index) => {
    if (index === 0) return;
    const answer = answers(follower, line);
    const where = `${name}:${index + 1}`;
    if (answer === undefined) {
      const done = actions.shift();
      if (!isDeepStrictEqual(done, line)) {
        throw new Difference(`${where}: expected ${told(line)}, and not ${told(done)}`);
      }
    } else if (actions.length > 0) {
      throw new Difference(`${where}: nothing more expected, and not ${told(actions[0])}`);
    } else {
      actions = answer;
    }
  });
  if (actions.length > 0) {
    throw new Difference(`${name}: nothing more expected, and not ${told(actions[0])}`);
  }
}

// What the first line of a recording asks for.
function aFollower({ after, orders }) {
  return orders === undefined ? new Follower({ after }) : new ManyFollower({ after: orders });
}

// What the follower does about something that the engine did; undefined for any other line.
function answers(follower, line) {
  if ("message" in line) return follower.received(line.message);
  if ("closed" in line) return follower.closed(line.closed);
  if ("silence" in line) return follower.silent();
  return undefined;
}

function told(value) {
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

// Prints {"enqueued_per_s", "worked_per_s"} of BullMQ: addBulk by 500, then one worker on 50 slots.
// node bench.mjs PORT JOBS SLOTS
import { performance } from "node:perf_hooks";
import { Queue, Worker } from "bullmq";

const [port, jobs, slots] = process.argv.slice(2).map(Number);
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
const opts = { removeOnComplete: true, removeOnFail: true };
const queue = new Queue("bench", { connection });
await queue.waitUntilReady();

let began = performance.now();
for (let first = 0; first < jobs; first += 500) {
  const count = Math.min(500, jobs - first);
  await queue.addBulk(Array.from({ length: count }, (_, n) => ({ name: "noop", data: { n: first + n }, opts })));
}
const enqueued_per_s = (1000 * jobs) / (performance.now() - began);

let done = 0;
const worker = new Worker("bench", async () => {}, { connection, concurrency: slots, autorun: false });
await worker.waitUntilReady();
began = performance.now();
const finished = new Promise((resolve) => worker.on("completed", () => ++done === jobs && resolve()));
worker.run();
await finished;
const worked_per_s = (1000 * jobs) / (performance.now() - began);
console.log(JSON.stringify({ enqueued_per_s, worked_per_s }));
await worker.close();
await queue.close();

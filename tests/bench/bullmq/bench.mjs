// Measures BullMQ, addBulk of 500 jobs at a time and then one worker; prints the jobs per second as
// {"enqueued_per_s", "executed_per_s"}.
// node bench.mjs PORT JOBS SLOTS
import { performance } from "node:perf_hooks";
import { Queue, Worker } from "bullmq";

const [port, jobs, slots] = process.argv.slice(2).map(Number);
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
const opts = { removeOnComplete: true, removeOnFail: true };
const noop = (n) => ({ name: "noop", data: { n }, opts });
const queue = new Queue("bench", { connection });
await queue.waitUntilReady();

let began = performance.now();
for (let first = 0; first < jobs; first += 500) {
  const count = Math.min(500, jobs - first);
  await queue.addBulk(Array.from({ length: count }, (_, n) => noop(first + n)));
}
const enqueued_per_s = (1000 * jobs) / (performance.now() - began);

let done = 0;
const workerOpts = { connection, concurrency: slots, autorun: false };
const worker = new Worker("bench", async () => {}, workerOpts);
await worker.waitUntilReady();
began = performance.now();
const finished = new Promise((resolve) => {
  worker.on("completed", () => ++done === jobs && resolve());
});
worker.run();
await finished;
const executed_per_s = (1000 * jobs) / (performance.now() - began);
console.log(JSON.stringify({ enqueued_per_s, executed_per_s }));
await worker.close();
await queue.close();

-- Puts jobs on their queues, in the order given.
--
-- KEYS  the queue lists
-- ARGV  1 key prefix of RQ  2 prefix of the queue lists  3 key of the set of queues  4 the current time as RQ writes it
--       5 timeout in seconds
--       then for each job: number of its queue in KEYS, id, data, created_at as RQ writes it, failure_ttl, meta
--
-- The hashes have the fields that rq.job.Job.restore reads.
local job_prefix, list_prefix, queues, now, timeout = ARGV[1] .. ':job:', ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ids, origins = {}, {}
for number, list in ipairs(KEYS) do
    ids[number] = {}
    origins[number] = string.sub(list, #list_prefix + 1)
end
for i = 6, #ARGV, 6 do
    local number, id = tonumber(ARGV[i]), ARGV[i + 1]
    redis.call('HSET', job_prefix .. id, 'status', 'queued', 'created_at', ARGV[i + 3], 'enqueued_at', now,
        'origin', origins[number], 'description', id, 'data', ARGV[i + 2], 'timeout', timeout, 'result_ttl', '0',
        'failure_ttl', ARGV[i + 4], 'meta', ARGV[i + 5])
    ids[number][#ids[number] + 1] = id
end
for number, list in ipairs(KEYS) do
    redis.call('SADD', queues, list)
    call_with_all('RPUSH', list, ids[number])
end

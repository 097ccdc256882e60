-- Ends jobs that a worker has run, records those that still run, and claims up to `wanted` jobs of its queue.
-- RQ does the same for one job at a time.
--
-- KEYS  1 queue list  2 intermediate list  3 started registry  4 failed registry  5 quarantine  6 probe
--       7 suspended flag  8 this worker  9 this worker's executions  10 rate window
--       11 marker of a known window, or ''
-- ARGV  1 options, a JSON object:
--         wanted, limit (0: none), window_s, lease_s, claim_id, worker_name
--         rq_prefix: prefix of RQ's keys; hint_prefix: prefix of a hint's id
--         now: the current time as RQ writes it
--         failure_ttl_s: how long to keep a failed job without a valid failure_ttl
--         local_tokens: starts that this process's own count allows; local_wait_s: time until it allows one more
--         field_bytes_max: largest field of a job; entries_skipped_max: entries to read beyond `wanted`
--       2 an id held in the intermediate list, or ''
--       then for each plain job that has ended, or runs without a record: job id, execution id,
--       'succeeded', 'failed' or 'running'
--
-- Returns { left, state, tokens_left, wait_s, watermark, quarantined, { for each job: { id, execution id, data,
-- enqueued_at, timeout, plain } } }.
--   left         ids of ended jobs that RQ has to end, see update_executions
--   state        'open', 'suspended', or 'window_unknown' after a FLUSHALL: the starts of the last minute must be
--                entered first, see merge_known_starts.lua
--   tokens_left  starts that the window still allows; wait_s: time until it allows one more
--   watermark    the result of time_of_head
--   plain        1 when only the hash is deleted after the job succeeds
local queue, intermediate, started, quarantine, window = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[10]
local worker_executions, window_marker = KEYS[9], KEYS[11]
local options, held = cjson.decode(ARGV[1]), ARGV[2]
local wanted, limit, lease_s, prefix = options.wanted, options.limit, options.lease_s, options.rq_prefix
local entries_left = wanted + options.entries_skipped_max
local TIME_BYTES_MAX = 64
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local executions = {}
for i = 3, #ARGV, 3 do
    executions[#executions + 1] = { job_id = ARGV[i], id = ARGV[i + 1], outcome = ARGV[i + 2] }
end
-- first, because it frees memory in a Redis that is full
local left = update_executions(executions, {
    prefix = prefix, started = started, failed = KEYS[4], worker = KEYS[8], worker_executions = worker_executions,
    worker_name = options.worker_name, now = now, now_text = options.now, lease_s = lease_s,
    failure_ttl_s = options.failure_ttl_s,
})

-- a claim of 0 jobs must also fail when Redis is read-only or full
redis.call('SET', KEYS[6], now, 'EX', 60)
-- and when a key has a wrong type, before a job has moved
local waiting, in_window = redis.call('LLEN', queue), redis.call('ZCARD', window)
redis.call('LLEN', intermediate)
redis.call('ZCARD', started)
redis.call('ZCARD', quarantine)
redis.call('SCARD', worker_executions)

local function release_held()
    if held ~= '' and redis.call('LREM', intermediate, 1, held) == 1 then
        redis.call('LPUSH', queue, held)
    end
    held = ''
end

if redis.call('EXISTS', KEYS[7]) == 1 then
    release_held()
    return { left, 'suspended', 0, '0', 'unreadable', 0, {} }
end

if limit > 0 and window_marker ~= '' and redis.call('EXISTS', window_marker) == 0 then
    release_held()
    return { left, 'window_unknown', 0, '0', 'unreadable', 0, {} }
end

local tokens_left, wait_s = 1000000, 0
if limit > 0 then
    if in_window > 0 then
        redis.call('ZREMRANGEBYSCORE', window, '-inf', string.format('%.6f', now - options.window_s))
        -- a forged start in the future would never leave
        redis.call('ZREMRANGEBYSCORE', window, string.format('(%.6f', now + options.window_s), '+inf')
        in_window = redis.call('ZCARD', window)
    end
    tokens_left = limit - in_window
    if tokens_left <= 0 then
        tokens_left = 0
        local oldest = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
        wait_s = tonumber(oldest[2]) + options.window_s - now
    end
    -- the process's own count also holds when another client has changed the window
    if options.local_tokens <= 0 then wait_s = math.max(wait_s, options.local_wait_s) end
    tokens_left = math.max(math.min(tokens_left, options.local_tokens), 0)
end

-- Up to `most` entries of the queue; none when it is empty.
local function next_ids(most)
    if held ~= '' then
        local id = held
        held = ''
        -- when it has left the intermediate list, another worker has it
        if redis.call('LREM', intermediate, 1, id) == 1 then return { id } end
    end
    return waiting > 0 and redis.call('LPOP', queue, most) or {}
end

local function is_too_large(fields)
    for i = 1, 14 do
        if fields[i] and #fields[i] > options.field_bytes_max then return true end
    end
    return false
end

-- 1 when RQ has nothing to do after the job ends, except for dependents, which are checked when it ends.
local function is_plain(fields)
    for i = 5, 12 do
        if fields[i] and fields[i] ~= '' then return 0 end
    end
    return fields[4] == '0' and 1 or 0
end

local function is_hint(id) return begins_with(id, options.hint_prefix) end

local jobs, members, leases, tokens = {}, {}, {}, {}
local quarantined = 0
local now_s, lease = string.format('%.6f', now), string.format('%.6f', now + lease_s)

local function start(id, key, fields)
    local execution, plain = options.claim_id .. '-' .. #members + 1, is_plain(fields)
    local member = id .. ':' .. execution
    redis.call('HSET', key, 'status', 'started', 'started_at', options.now, 'last_heartbeat', options.now,
        'worker_name', options.worker_name)
    redis.call('PERSIST', key)
    if plain == 0 then record_execution(id, execution, prefix, options.worker_name, now, lease_s) end
    members[#members + 1] = member
    leases[#leases + 1], leases[#leases + 2] = lease, member
    -- a hint's token is named after its id, so that merge_known_starts.lua does not count a start twice
    tokens[#tokens + 1], tokens[#tokens + 2] = now_s, is_hint(id) and id or member
    local enqueued_at, timeout = string.sub(fields[3] or '', 1, TIME_BYTES_MAX), string.sub(fields[14] or '', 1, TIME_BYTES_MAX)
    jobs[#jobs + 1] = { id, execution, fields[2], enqueued_at, timeout, plain }
end

-- For a hash that a worker cannot read: of a wrong type, without data, or with a field above field_bytes_max. A job
-- with unreadable data is started, and fails there, see job_call.py.
local function move_to_quarantine(id)
    redis.call('ZADD', quarantine, now, id)
    quarantined = quarantined + 1
end

local function take(id)
    if not is_job_id(id) then return end
    local key = prefix .. ':job:' .. id
    local fields = redis.pcall('HMGET', key, 'status', 'data', 'enqueued_at', 'result_ttl', 'success_callback_name',
        'failure_callback_name', 'dependency_ids', 'repeats_left', 'rate_limit_key', 'group_id', 'webhooks', 'retries_left', 'meta', 'timeout')
    if fields.err or is_too_large(fields) or (fields[1] and not fields[2]) then return move_to_quarantine(id) end
    -- with another status, or without a hash, the job has run, runs, or has expired: the entry is dropped
    if fields[1] ~= 'queued' then return end
    start(id, key, fields)
end

local most = math.min(wanted, tokens_left)
while #members < most and entries_left > 0 do
    local ids = next_ids(math.min(most - #members, entries_left))
    if #ids == 0 then break end
    entries_left = entries_left - #ids
    for _, id in ipairs(ids) do take(id) end
end
release_held()
call_with_all('ZADD', started, leases)
call_with_all('SADD', worker_executions, members)
if #members > 0 then redis.call('EXPIRE', worker_executions, lease_s + 60) end
if limit > 0 then
    call_with_all('ZADD', window, tokens)
    if #tokens > 0 then redis.call('EXPIRE', window, options.window_s) end
    tokens_left = tokens_left - #members
end
return { left, 'open', tokens_left, string.format('%.6f', wait_s), time_of_head(queue, prefix), quarantined, jobs }

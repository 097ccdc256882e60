-- Ends what a worker has run, records what runs on, and claims up to `wanted` jobs of its queue, as RQ would have
-- done one by one.
--
-- KEYS  1 queue list  2 intermediate list  3 started registry  4 rate window  5 quarantine
--       6 suspended flag  7 this worker's executions  8 probe  9 marker of a known window, or ''
--       10 failed registry  11 this worker
-- ARGV  1 wanted  2 rate limit (0: none)  3 window seconds  4 lease seconds  5 execution id prefix
--       6 worker name  7 id held in the intermediate list, or ''  8 this moment as RQ writes it
--       9 key prefix of RQ  10 seconds after which a hint is stale (0: never)  11 prefix of a hint's id
--       12 what this process may start by its own count  13 seconds until that is one more
--       14 most bytes in a field of a job  15 most entries to look at beyond `wanted`
--       16 seconds to keep a failed job that says nothing of it
--       then for each plain job that has ended, or runs on and has no record of it: job id, execution id,
--       'succeeded', 'failed' or 'running'
--
-- Returns { left, state, room, wait_s, watermark, quarantined, stale, { for each job: { id, execution id, data,
-- enqueued_at, timeout, plain } } }. `left` has the ids of jobs that could not be ended, see executions.lua.
-- `state` is 'open', 'suspended', or 'window_unknown' after a FLUSHALL: then the starts of the last minute
-- must be entered first, see merge_known_starts.lua; `room` is what the window still allows; `wait_s` the time until it
-- allows one more; `watermark` what `moment_of_head` says; `plain` is 1 where nothing but the hash is to be
-- deleted when the job succeeds.
local queue, intermediate, started, window, quarantine = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local wanted, limit, window_s, lease_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held, prefix, stale_s = ARGV[7], ARGV[9], tonumber(ARGV[10])
local local_room, local_wait_s = tonumber(ARGV[12]), tonumber(ARGV[13])
local field_bytes_max, checks_left = tonumber(ARGV[14]), wanted + tonumber(ARGV[15])
local TIME_BYTES_MAX = 64
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local executions = {}
for i = 17, #ARGV, 3 do
    executions[#executions + 1] = { job_id = ARGV[i], id = ARGV[i + 1], outcome = ARGV[i + 2] }
end
-- first of all, as it makes room in a Redis that is full
local left = update_executions(executions, {
    prefix = prefix, started = started, failed = KEYS[10], worker = KEYS[11], worker_executions = KEYS[7],
    worker_name = ARGV[6], now = now, now_text = ARGV[8], lease_s = lease_s, keep_s = tonumber(ARGV[16]),
})

-- a call that asks for nothing must fail too where Redis is read-only or full
redis.call('SET', KEYS[8], now, 'EX', 60)
-- and where a key has another type, before anything has moved
redis.call('LLEN', queue)
redis.call('LLEN', intermediate)
redis.call('ZCARD', started)
redis.call('ZCARD', window)
redis.call('ZCARD', quarantine)
redis.call('SCARD', KEYS[7])

local function give_back()
    if held ~= '' and redis.call('LREM', intermediate, 1, held) == 1 then
        redis.call('LPUSH', queue, held)
    end
    held = ''
end

if redis.call('EXISTS', KEYS[6]) == 1 then
    give_back()
    return { left, 'suspended', 0, '0', 'unreadable', 0, 0, {} }
end

if limit > 0 and KEYS[9] ~= '' and redis.call('EXISTS', KEYS[9]) == 0 then
    give_back()
    return { left, 'window_unknown', 0, '0', 'unreadable', 0, 0, {} }
end

local room, wait_s = 1000000, 0
if limit > 0 then
    redis.call('ZREMRANGEBYSCORE', window, '-inf', string.format('%.6f', now - window_s))
    -- a start of the future is none of ours, and would never leave
    redis.call('ZREMRANGEBYSCORE', window, string.format('(%.6f', now + window_s), '+inf')
    room = limit - redis.call('ZCARD', window)
    if room <= 0 then
        room = 0
        local oldest = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
        wait_s = tonumber(oldest[2]) + window_s - now
    end
    -- the window may have been tampered with: what a process has started itself it knows by itself
    if local_room <= 0 then wait_s = math.max(wait_s, local_wait_s) end
    room = math.max(math.min(room, local_room), 0)
end

-- Up to `most` entries of the queue; none where it is empty.
local function next_ids(most)
    if held ~= '' then
        local id = held
        held = ''
        -- whoever took it from the intermediate list meanwhile has it now
        if redis.call('LREM', intermediate, 1, id) == 1 then return { id } end
    end
    return redis.call('LPOP', queue, most) or {}
end

local function is_too_large(fields)
    for i = 1, 14 do
        if fields[i] and #fields[i] > field_bytes_max then return true end
    end
    return false
end

-- Whether nothing of RQ's is to be done when it ends; what depends on it by then is looked for at its end.
local function is_plain(fields)
    for i = 5, 12 do
        if fields[i] and fields[i] ~= '' then return 0 end
    end
    return fields[4] == '0' and 1 or 0
end

local function is_hint(id) return begins_with(id, ARGV[11]) end

-- Two clocks have to agree that a hint is stale: ours, and that of who wrote the newest one in the queue. Where
-- they differ, or nothing newer waits, it is carried for nothing, which costs a token and no more.
local stale_before = -math.huge
if stale_s > 0 then
    local newest = redis.call('LINDEX', queue, -1)
    local meta = newest and is_job_id(newest) and is_hint(newest)
        and redis.pcall('HGET', prefix .. ':job:' .. newest, 'meta')
    stale_before = math.min(created_at(meta) or -math.huge, now) - stale_s
end

local jobs, members, leases, tokens = {}, {}, {}, {}
local quarantined, stale = 0, 0
local moment, lease = string.format('%.6f', now), string.format('%.6f', now + lease_s)

local function start(id, key, fields)
    local execution, plain = ARGV[5] .. '-' .. #members + 1, is_plain(fields)
    local member = id .. ':' .. execution
    redis.call('HSET', key, 'status', 'started', 'started_at', ARGV[8], 'last_heartbeat', ARGV[8], 'worker_name', ARGV[6])
    redis.call('PERSIST', key)
    if plain == 0 then record_execution(id, execution, prefix, ARGV[6], now, lease_s) end
    members[#members + 1] = member
    leases[#leases + 1], leases[#leases + 2] = lease, member
    -- a hint's token bears its id, so that a window united with PostgreSQL counts no start twice
    tokens[#tokens + 1], tokens[#tokens + 2] = moment, is_hint(id) and id or member
    local enqueued_at, timeout = string.sub(fields[3] or '', 1, TIME_BYTES_MAX), string.sub(fields[14] or '', 1, TIME_BYTES_MAX)
    jobs[#jobs + 1] = { id, execution, fields[2], enqueued_at, timeout, plain }
end

local function move_to_quarantine(id)
    redis.call('ZADD', quarantine, now, id)
    quarantined = quarantined + 1
end

local function take(id)
    if not is_job_id(id) then return end -- what RQ would not take for an id names no hash
    local key = prefix .. ':job:' .. id
    local fields = redis.pcall('HMGET', key, 'status', 'data', 'enqueued_at', 'result_ttl', 'success_callback_name',
        'failure_callback_name', 'dependency_ids', 'repeats_left', 'rate_limit_key', 'group_id', 'webhooks', 'retries_left', 'meta', 'timeout')
    if fields.err or is_too_large(fields) or (fields[1] and not fields[2]) then return move_to_quarantine(id) end
    -- of any other status, or without a hash: it has run, runs, or has expired; the entry is dropped
    if fields[1] ~= 'queued' then return end
    local created = stale_s > 0 and is_hint(id) and created_at(fields[13])
    if created and created < stale_before then
        redis.call('DEL', key)
        stale = stale + 1
    else
        start(id, key, fields)
    end
end

local most = math.min(wanted, room)
while #members < most and checks_left > 0 do
    local ids = next_ids(math.min(most - #members, checks_left))
    if #ids == 0 then break end
    checks_left = checks_left - #ids
    for _, id in ipairs(ids) do take(id) end
end
give_back()
call_with_all('ZADD', started, leases)
call_with_all('SADD', KEYS[7], members)
if #members > 0 then redis.call('EXPIRE', KEYS[7], lease_s + 60) end
if limit > 0 then
    call_with_all('ZADD', window, tokens)
    redis.call('EXPIRE', window, window_s)
    room = room - #members
end
return { left, 'open', room, string.format('%.6f', wait_s), moment_of_head(queue, prefix), quarantined, stale, jobs }

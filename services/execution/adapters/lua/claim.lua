-- Claims up to `wanted` jobs of one queue in one call, as RQ would have started them one by one.
--
-- KEYS  1 queue list  2 intermediate list  3 started registry  4 rate window  5 quarantine
--       6 suspended flag  7 this worker's executions
-- ARGV  1 wanted  2 rate limit (0: none)  3 window seconds  4 lease seconds  5 execution id prefix
--       6 worker name  7 id held in the intermediate list, or ''  8 time of start as RQ writes it
--       9 key prefix of RQ
--
-- Returns { state, room, wait_s, watermark, then for each job: id, execution id, data, enqueued_at }.
-- `state` is 'open' or 'suspended'; `room` is what the window still allows; `wait_s` the time until it
-- allows one more; `watermark` the head's created_at, 'empty', or 'unreadable'.
local queue, intermediate, started, window, quarantine = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local wanted, limit, window_s, lease_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held, prefix = ARGV[7], ARGV[9]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local function give_back()
    if held ~= '' then
        redis.call('LREM', intermediate, 1, held)
        redis.call('LPUSH', queue, held)
    end
end

if redis.call('EXISTS', KEYS[6]) == 1 then
    give_back()
    return { 'suspended', 0, '0', 'unreadable' }
end

local room, wait_s = 1000000, 0
if limit > 0 then
    redis.call('ZREMRANGEBYSCORE', window, '-inf', string.format('%.6f', now - window_s))
    room = limit - redis.call('ZCARD', window)
    if room <= 0 then
        room = 0
        local oldest = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
        wait_s = tonumber(oldest[2]) + window_s - now
    end
end

local function next_id()
    if held ~= '' then
        local id = held
        held = ''
        redis.call('LREM', intermediate, 1, id)
        return id
    end
    return redis.call('LPOP', queue)
end

local jobs = {}
local count = 0
if room == 0 then give_back() end
while count < wanted and room > 0 do
    local id = next_id()
    if not id then break end
    local key = prefix .. ':job:' .. id
    local fields = redis.pcall('HMGET', key, 'status', 'data', 'enqueued_at')
    if fields.err then
        redis.call('ZADD', quarantine, now, id)
    elseif fields[1] == 'queued' and fields[2] then
        count = count + 1
        local execution = ARGV[5] .. '-' .. count
        local member = id .. ':' .. execution
        redis.call('HSET', key, 'status', 'started', 'started_at', ARGV[8], 'last_heartbeat', ARGV[8], 'worker_name', ARGV[6])
        redis.call('PERSIST', key)
        redis.call('ZADD', started, now + lease_s, member)
        redis.call('HSET', prefix .. ':execution:' .. member, 'id', execution, 'job_id', id, 'created_at', string.format('%.6f', now),
            'last_heartbeat', string.format('%.6f', now), 'worker_name', ARGV[6])
        redis.call('EXPIRE', prefix .. ':execution:' .. member, lease_s)
        redis.call('ZADD', prefix .. ':executions:' .. id, now + lease_s + 60, execution)
        redis.call('EXPIRE', prefix .. ':executions:' .. id, lease_s + 60)
        redis.call('SADD', KEYS[7], member)
        if limit > 0 then
            redis.call('ZADD', window, string.format('%.6f', now), member)
            room = room - 1
        end
        jobs[#jobs + 1] = id
        jobs[#jobs + 1] = execution
        jobs[#jobs + 1] = fields[2]
        jobs[#jobs + 1] = fields[3] or ''
    elseif fields[1] == 'queued' then
        redis.call('ZADD', quarantine, now, id)
    end
    -- any other status, or no hash: the job has run, runs, or has expired; the entry is dropped
end
if count > 0 then redis.call('EXPIRE', KEYS[7], lease_s + 60) end
if limit > 0 then redis.call('EXPIRE', window, window_s) end

local watermark = 'empty'
local head = redis.call('LINDEX', queue, 0)
if head then
    watermark = 'unreadable'
    local meta = redis.pcall('HGET', prefix .. ':job:' .. head, 'meta')
    if type(meta) == 'string' then
        local readable, decoded = pcall(cjson.decode, meta)
        if readable and type(decoded) == 'table' and type(decoded.created_at) == 'number' then
            watermark = string.format('%.6f', decoded.created_at)
        end
    end
end

local answer = { 'open', room, string.format('%.6f', wait_s), watermark }
for _, value in ipairs(jobs) do answer[#answer + 1] = value end
return answer

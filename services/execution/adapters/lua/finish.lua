-- Ends executions of plain jobs: deletes what is still in the started registry, keeps failures a while.
--
-- KEYS  1 started registry  2 failed registry  3 this worker's executions  4 this worker
-- ARGV  1 key prefix of RQ  2 time of end as RQ writes it  3 seconds to keep a failure that says nothing
--       then for each execution: job id, execution id, 'succeeded' or 'failed'
--
-- Returns the ids of jobs that have got dependents since they were claimed: nothing is done for them.
local prefix = ARGV[1]
local now = tonumber(redis.call('TIME')[1])
local KEEP_MAX_S = 31536000
local left = {}

-- Below 0: for ever, as RQ has it.
local function seconds_to_keep(key)
    local keep_s = tonumber(replacing('HGET', key, 'failure_ttl') or ARGV[3])
    if not keep_s or keep_s ~= keep_s then keep_s = tonumber(ARGV[3]) end
    return math.max(math.min(math.floor(keep_s), KEEP_MAX_S), -1)
end

local function fail(id, key, keep_s)
    redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[2])
    if keep_s < 0 then
        redis.call('PERSIST', key)
        redis.call('ZADD', KEYS[2], keep_s, id)  -- below every moment at which RQ looks for expired ones
    else
        redis.call('EXPIRE', key, keep_s)
        redis.call('ZADD', KEYS[2], now + keep_s, id)
    end
end

local function count(outcome)
    -- figures for `rq info`: one that is no number any more must hold up nothing
    redis.pcall('HINCRBY', KEYS[4], outcome .. '_job_count', 1)
end

for i = 4, #ARGV, 3 do
    local id, execution, outcome = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    local key = prefix .. ':job:' .. id
    if redis.call('EXISTS', key .. ':dependents') == 1 then
        left[#left + 1] = id
    else
        -- read before anything has changed: should it fail, all of it is still to be done
        local keep_s = outcome == 'failed' and seconds_to_keep(key)
        redis.call('DEL', prefix .. ':execution:' .. member)
        replacing('ZREM', prefix .. ':executions:' .. id, execution)
        redis.call('SREM', KEYS[3], member)
        if redis.call('ZREM', KEYS[1], member) == 1 then
            if outcome == 'succeeded' then
                redis.call('DEL', key)
                count('successful')
            else
                fail(id, key, keep_s)
                count('failed')
            end
        end
    end
end
return left

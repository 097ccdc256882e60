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

local function seconds_to_keep(key)
    local keep_s = tonumber(replacing('HGET', key, 'failure_ttl') or ARGV[3])
    if not keep_s or keep_s ~= keep_s then keep_s = tonumber(ARGV[3]) end
    return math.max(math.min(math.floor(keep_s), KEEP_MAX_S), 0)
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
        redis.call('DEL', prefix .. ':execution:' .. member)
        replacing('ZREM', prefix .. ':executions:' .. id, execution)
        redis.call('SREM', KEYS[3], member)
        if redis.call('ZREM', KEYS[1], member) == 1 then
            if outcome == 'succeeded' then
                redis.call('DEL', key)
                count('successful')
            else
                local keep_s = seconds_to_keep(key)
                redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[2])
                redis.call('EXPIRE', key, keep_s)
                redis.call('ZADD', KEYS[2], now + keep_s, id)
                count('failed')
            end
        end
    end
end
return left

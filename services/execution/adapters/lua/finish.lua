-- Ends executions of plain jobs: deletes what is still in the started registry, keeps failures a while.
--
-- KEYS  1 started registry  2 failed registry  3 this worker's executions  4 this worker
-- ARGV  1 key prefix of RQ  2 time of end as RQ writes it  3 seconds to keep a failure that says nothing
--       then for each execution: job id, execution id, 'succeeded' or 'failed'
--
-- Returns the ids of jobs that have got dependents since they were claimed: nothing is done for them.
local prefix = ARGV[1]
local now = tonumber(redis.call('TIME')[1])
local left = {}
for i = 4, #ARGV, 3 do
    local id, execution, outcome = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    local key = prefix .. ':job:' .. id
    if redis.call('EXISTS', key .. ':dependents') == 1 then
        left[#left + 1] = id
    else
        redis.call('DEL', prefix .. ':execution:' .. member)
        redis.call('ZREM', prefix .. ':executions:' .. id, execution)
        redis.call('SREM', KEYS[3], member)
        if redis.call('ZREM', KEYS[1], member) == 1 then
            if outcome == 'succeeded' then
                redis.call('DEL', key)
                redis.call('HINCRBY', KEYS[4], 'successful_job_count', 1)
            else
                local keep_s = tonumber(redis.call('HGET', key, 'failure_ttl') or ARGV[3]) or tonumber(ARGV[3])
                redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[2])
                redis.call('EXPIRE', key, keep_s)
                redis.call('ZADD', KEYS[2], now + keep_s, id)
                redis.call('HINCRBY', KEYS[4], 'failed_job_count', 1)
            end
        end
    end
end
return left

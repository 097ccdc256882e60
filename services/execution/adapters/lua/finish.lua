-- Ends executions: deletes what is still in the started registry, and keeps failures for a while.
--
-- KEYS  1 started registry  2 failed registry  3 this worker's executions  4 this worker
-- ARGV  1 key prefix of RQ  2 time of end as RQ writes it
--       then for each execution: job id, execution id, seconds to keep it as failed or '' when it succeeded
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1])
for i = 3, #ARGV, 3 do
    local id, execution, keep_s = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    redis.call('DEL', prefix .. ':execution:' .. member)
    redis.call('ZREM', prefix .. ':executions:' .. id, execution)
    redis.call('SREM', KEYS[3], member)
    if redis.call('ZREM', KEYS[1], member) == 1 then
        local key = prefix .. ':job:' .. id
        if keep_s == '' then
            redis.call('DEL', key)
            redis.call('HINCRBY', KEYS[4], 'successful_job_count', 1)
        else
            redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[2])
            redis.call('EXPIRE', key, keep_s)
            redis.call('ZADD', KEYS[2], now + keep_s, id)
            redis.call('HINCRBY', KEYS[4], 'failed_job_count', 1)
        end
    end
end
return redis.status_reply('OK')

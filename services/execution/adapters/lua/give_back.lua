-- Puts started jobs back at the head of their queue, oldest first, together with their tokens.
--
-- KEYS  1 queue list  2 started registry  3 rate window  4 this worker's executions
-- ARGV  1 key prefix of RQ, then for each job: id, execution id, its member of the window
--
-- Returns how many tokens went back.
local prefix, refunded = ARGV[1], 0
for i = #ARGV - 2, 2, -3 do
    local id, execution, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    redis.call('DEL', prefix .. ':execution:' .. member)
    replacing('ZREM', prefix .. ':executions:' .. id, execution)
    redis.call('SREM', KEYS[4], member)
    if redis.call('ZREM', KEYS[2], member) == 1 then
        replacing('HSET', prefix .. ':job:' .. id, 'status', 'queued', 'started_at', '', 'worker_name', '')
        redis.call('LPUSH', KEYS[1], id)
        refunded = refunded + redis.call('ZREM', KEYS[3], token)
    end
end
return refunded

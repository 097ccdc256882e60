-- Puts started jobs back at the head of their queue, oldest first, together with their tokens.
--
-- KEYS  1 queue list  2 started registry  3 rate window  4 this worker's executions
-- ARGV  1 key prefix of RQ  2 seconds of a lease, when a token must be as old as its lease to go back, because a
--       newer one belongs to another start of the same job; 0 when any token goes back
--       then for each job: id, execution id, its member of the window
--
-- Returns how many tokens went back.
local prefix, lease_s, refunded = ARGV[1], tonumber(ARGV[2]), 0

-- fails when a key has a wrong type, before a job has moved
redis.call('LLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('SCARD', KEYS[4])

local function is_of_this_start(token, lease)
    local token_s = redis.call('ZSCORE', KEYS[3], token)
    return token_s and (lease_s == 0 or math.abs(token_s + lease_s - lease) < 0.00001)
end

for i = #ARGV - 2, 3, -3 do
    local id, execution, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    local lease = redis.call('ZSCORE', KEYS[2], member)
    redis.call('DEL', prefix .. ':execution:' .. member)
    redis.pcall('ZREM', prefix .. ':executions:' .. id, execution)
    redis.call('SREM', KEYS[4], member)
    if lease then
        if is_of_this_start(token, lease) then refunded = refunded + redis.call('ZREM', KEYS[3], token) end
        redis.pcall('HSET', prefix .. ':job:' .. id, 'status', 'queued', 'started_at', '', 'worker_name', '')
        redis.call('LPUSH', KEYS[1], id)
        redis.call('ZREM', KEYS[2], member)
    end
end
return refunded

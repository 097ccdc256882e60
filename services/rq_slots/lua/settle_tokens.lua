-- Renames the tokens of starts that have happened after their jobs, and gives back the others.
--
-- KEYS  1 rate window
-- ARGV  1 number of starts, then their members, then the tokens taken for them and the ones left over
local starts = tonumber(ARGV[1])
for i = 1, #ARGV - 1 - starts do
    local token = ARGV[1 + starts + i]
    local moment = redis.call('ZSCORE', KEYS[1], token)
    redis.call('ZREM', KEYS[1], token)
    if i <= starts and moment then redis.call('ZADD', KEYS[1], moment, ARGV[1 + i]) end
end
return redis.status_reply('OK')

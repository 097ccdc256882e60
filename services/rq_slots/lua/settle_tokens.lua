-- Names the tokens of starts after their jobs, and removes the other tokens.
--
-- KEYS  1 rate window
-- ARGV  1 number of starts, then their members, then the tokens taken for them and the ones left over
local starts = tonumber(ARGV[1])
for i = 1, #ARGV - 1 - starts do
    local token = ARGV[1 + starts + i]
    local token_s = redis.call('ZSCORE', KEYS[1], token)
    redis.call('ZREM', KEYS[1], token)
    if i <= starts and token_s then redis.call('ZADD', KEYS[1], token_s, ARGV[1 + i]) end
end
return redis.status_reply('OK')

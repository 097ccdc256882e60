-- Takes up to `wanted` tokens of the rate window for starts that do not come from the queue.
--
-- KEYS  1 rate window  2 marker of a known window
-- ARGV  1 wanted  2 limit  3 window seconds  4 prefix of the members
--
-- Returns how many were taken; the members are prefix-1 to prefix-n. Takes none when the
-- window is not known.
local wanted, limit, window_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now - window_s))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + window_s), '+inf')
local taken = math.max(0, math.min(wanted, limit - redis.call('ZCARD', KEYS[1])))
for i = 1, taken do
    redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[4] .. '-' .. i)
end
redis.call('EXPIRE', KEYS[1], window_s)
return taken

-- Adds known starts to the rate window, and marks the window as known.
--
-- KEYS  1 rate window  2 marker
-- ARGV  1 window seconds, then for each start: member, its age in seconds
local window_s = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
for i = 2, #ARGV, 2 do
    -- a start that the window has keeps the time of its token
    redis.call('ZADD', KEYS[1], 'NX', string.format('%.6f', now - tonumber(ARGV[i + 1])), ARGV[i])
end
redis.call('EXPIRE', KEYS[1], window_s)
redis.call('SET', KEYS[2], 1)
return redis.status_reply('OK')

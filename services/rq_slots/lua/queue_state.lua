-- Returns how many jobs wait in a queue, and the time of its head.
--
-- KEYS  1 queue list
-- ARGV  1 key prefix of RQ
return { redis.call('LLEN', KEYS[1]), time_of_head(KEYS[1], ARGV[1]) }

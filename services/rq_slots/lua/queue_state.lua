-- How many jobs wait in a queue, and when its head came.
--
-- KEYS  1 queue list
-- ARGV  1 key prefix of RQ
return { redis.call('LLEN', KEYS[1]), moment_of_head(KEYS[1], ARGV[1]) }

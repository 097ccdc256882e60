-- Deletes hints that nobody will finish: for each, the row in PostgreSQL decides what becomes of it.
-- Jobs of other producers are left to RQ's own maintenance.
--
-- KEYS  1 started registry  2 intermediate list  3 failed registry  4 quarantine  5 first seen
-- ARGV  1 key prefix of RQ  2 prefix of a hint's id  3 seconds of patience  4 most to look at in each place
--
-- Returns how many were deleted, and how many of other producers have outlived their lease.
local started, intermediate, failed, quarantine, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, own, patience_s, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local deleted, abandoned = 0, 0

local function is_own(id) return string.sub(id, 1, #own) == own end

local function delete(id)
    redis.call('DEL', prefix .. ':job:' .. id, prefix .. ':executions:' .. id)
    deleted = deleted + 1
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', started, '-inf', now, 'LIMIT', 0, most)) do
    local id = string.match(member, '^(.*):[^:]*$') or member
    if not is_own(id) then
        abandoned = abandoned + 1
    elseif tonumber(redis.call('ZSCORE', started, member)) <= now - patience_s then
        redis.call('ZREM', started, member)
        redis.call('DEL', prefix .. ':execution:' .. member)
        delete(id)
    end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', failed, '-inf', now, 'LIMIT', 0, most)) do
    if is_own(id) then
        redis.call('ZREM', failed, id)
        delete(id)
    end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', quarantine, '-inf', now - patience_s, 'LIMIT', 0, most)) do
    if is_own(id) then
        redis.call('ZREM', quarantine, id)
        delete(id)
    end
end
redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - 20 * patience_s)
for _, id in ipairs(redis.call('LRANGE', intermediate, 0, most - 1)) do
    local first = redis.call('ZSCORE', seen, id)
    if not is_own(id) then
        abandoned = abandoned + 1
    elseif not first then
        redis.call('ZADD', seen, now, id)
    elseif tonumber(first) <= now - patience_s then
        redis.call('LREM', intermediate, 1, id)
        redis.call('ZREM', seen, id)
        delete(id)
    end
end
return { deleted, abandoned }

-- Deletes abandoned hints, whose work another store remembers, and jobs that have been in quarantine too long. Other
-- abandoned jobs are left to RQ's maintenance, see abandoned.lua.
--
-- KEYS  1 started registry  2 failed registry  3 quarantine  4 intermediate list  5 first seen
-- ARGV  1 key prefix of RQ  2 prefix of a hint's id  3 seconds after which a hint is abandoned  4 most entries to read of
--       each key
--       5 seconds to keep a job in quarantine  6 most jobs in quarantine
--       7 to 10 rank to start from in each of the keys 1 to 4
--
-- Returns how many hints were deleted, how many jobs left the quarantine, and the four ranks to continue from:
-- 0 when a key was read to its end.
local started, failed, quarantine, intermediate, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, hint_prefix, patience_s, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local keep_s, quarantine_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = tonumber(redis.call('TIME')[1])
local deleted, purged = 0, 0

local function is_hint(id) return begins_with(id, hint_prefix) end

local function delete(id)
    redis.call('UNLINK', prefix .. ':job:' .. id, prefix .. ':executions:' .. id)
end

local function sweep(set, before, from)
    local members = redis.call('ZRANGEBYSCORE', set, '-inf', before, 'LIMIT', from, most)
    local kept = 0
    for _, member in ipairs(members) do
        if is_hint(member) then
            redis.call('ZREM', set, member)
            redis.call('DEL', prefix .. ':execution:' .. member)
            delete(string.match(member, '^(.*):[^:]*$') or member)
            deleted = deleted + 1
        else
            kept = kept + 1
        end
    end
    return #members < most and 0 or from + kept
end

local function sweep_intermediate(from)
    local ids, present, kept = redis.call('LRANGE', intermediate, from, from + most - 1), {}, 0
    for _, id in ipairs(ids) do
        local first = redis.call('ZSCORE', seen, id)
        local is_late = first and tonumber(first) <= now - patience_s
        if not is_job_id(id) then
            redis.call('LREM', intermediate, 1, id)
        elseif is_hint(id) and is_late then
            redis.call('LREM', intermediate, 1, id)
            redis.call('ZREM', seen, id)
            delete(id)
            deleted = deleted + 1
        else
            if not first then redis.call('ZADD', seen, now, id) end
            present[id] = true
            kept = kept + 1
        end
    end
    if from == 0 and #ids < most then
        -- an id that has left the list is seen for the first time when it returns
        for _, id in ipairs(redis.call('ZRANGE', seen, 0, most - 1)) do
            if not present[id] then redis.call('ZREM', seen, id) end
        end
    end
    return #ids < most and 0 or from + kept
end

local function purge(ids)
    for _, id in ipairs(ids) do
        redis.call('ZREM', quarantine, id)
        delete(id)
        purged = purged + 1
    end
end

local next_started = sweep(started, now - patience_s, tonumber(ARGV[7]))
local next_failed = sweep(failed, now, tonumber(ARGV[8]))
local next_quarantine = sweep(quarantine, now - patience_s, tonumber(ARGV[9]))
local next_intermediate = sweep_intermediate(tonumber(ARGV[10]))
redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - 20 * patience_s)
purge(redis.call('ZRANGEBYSCORE', quarantine, '-inf', now - keep_s, 'LIMIT', 0, most))
local excess = math.min(redis.call('ZCARD', quarantine) - quarantine_max, most)
if excess > 0 then purge(redis.call('ZRANGE', quarantine, 0, excess - 1)) end
return { deleted, purged, next_started, next_failed, next_quarantine, next_intermediate }

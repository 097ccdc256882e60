-- Finds abandoned jobs that are not hints, for RQ's maintenance to end. RQ ends all executions whose lease ended
-- before a given time; to end them one at a time, each gets a lease that ended at another time: 1, 2, 3 ...
--
-- KEYS  1 started registry  2 intermediate list  3 quarantine  4 first seen
-- ARGV  1 prefix of a hint's id  2 most entries to read of each key  3 seconds after which a job in the
--       intermediate list is abandoned
--
-- Returns the members of the started registry; the ids in the intermediate list; how many members that name no job
-- were moved to quarantine; 1 when there may be more.
local started, intermediate, quarantine, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local hint_prefix, most, patience_s = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local members, stuck, quarantined = {}, {}, 0

local function is_hint(id) return begins_with(id, hint_prefix) end

local expired = redis.call('ZRANGEBYSCORE', started, '-inf', now, 'LIMIT', 0, most)
for _, member in ipairs(expired) do
    if not string.find(member, '^[%w_-]+:[%w_-]+$') or #member > 511 then
        redis.call('ZREM', started, member)
        redis.call('ZADD', quarantine, now, string.sub(member, 1, 255))
        quarantined = quarantined + 1
    elseif not is_hint(member) then
        members[#members + 1] = member
        redis.call('ZADD', started, #members, member)
    end
end
for _, id in ipairs(redis.call('LRANGE', intermediate, 0, most - 1)) do
    local first = not is_hint(id) and redis.call('ZSCORE', seen, id)
    if first and tonumber(first) <= now - patience_s then stuck[#stuck + 1] = id end
end
local has_moved = #members + quarantined > 0
return { members, stuck, quarantined, has_moved and #expired == most and 1 or 0 }

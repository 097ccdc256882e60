-- Finds what RQ's maintenance is to end, of producers other than us, and gives each execution a lease that ran
-- out at a moment of its own: RQ ends all up to a moment, and this way one at a time.
--
-- KEYS  1 started registry  2 intermediate list  3 quarantine  4 first seen
-- ARGV  1 prefix of a hint's id  2 most to look at in each place  3 seconds of patience in the intermediate list
--
-- Returns the members of the started registry, whose leases now ran out at 1, 2, 3 ...; the ids in the
-- intermediate list; how many members were set aside because no job can be called so; whether there may be more.
local started, intermediate, quarantine, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local own, most, patience_s = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local members, stuck, quarantined = {}, {}, 0

local function is_own(id) return begins_with(id, own) end

local expired = redis.call('ZRANGEBYSCORE', started, '-inf', now, 'LIMIT', 0, most)
for _, member in ipairs(expired) do
    if not string.find(member, '^[%w_-]+:[%w_-]+$') or #member > 511 then
        redis.call('ZREM', started, member)
        redis.call('ZADD', quarantine, now, string.sub(member, 1, 255))
        quarantined = quarantined + 1
    elseif not is_own(member) then
        members[#members + 1] = member
        redis.call('ZADD', started, #members, member)
    end
end
for _, id in ipairs(redis.call('LRANGE', intermediate, 0, most - 1)) do
    local first = not is_own(id) and redis.call('ZSCORE', seen, id)
    if first and tonumber(first) <= now - patience_s then stuck[#stuck + 1] = id end
end
local has_moved = #members + quarantined > 0
return { members, stuck, quarantined, has_moved and #expired == most and 1 or 0 }

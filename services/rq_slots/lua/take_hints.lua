-- Takes hints from a queue: they leave Redis, and only this reply has them.
--
-- KEYS  1 queue list  2 suspended flag
-- ARGV  1 most hints to take  2 key prefix of RQ  3 age in seconds at which a hint is stale (0: never)
--       4 largest field of a hint, in bytes  5 most entries to read
--
-- Returns { state, stale, malformed, { data, enqueued_at, ... } }.
--   state      'open' or 'suspended'
--   stale      hints that were dropped because they are older than the newest one by the given age
--   malformed  entries that were dropped because they name no hash, or one that cannot be read
local queue, wanted, prefix, stale_after_s = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local bytes_max, entries_left = tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[2]) == 1 then return { 'suspended', 0, 0, {} } end

local function created(id) return is_job_id(id) and created_at(redis.pcall('HGET', prefix .. ':job:' .. id, 'meta')) end

-- A hint is stale when it is older than stale_after_s by two clocks: the server's, and that of the producer of the
-- newest hint. If only one of them says so, the hint is taken. The queue is first in, first out, so that none is
-- stale when its head is not.
local stale_before = -math.huge
if stale_after_s > 0 then
    local oldest, newest = redis.call('LINDEX', queue, 0), redis.call('LINDEX', queue, -1)
    if newest and newest ~= oldest then
        local time = redis.call('TIME')
        local before = math.min(created(newest) or -math.huge, tonumber(time[1])) - stale_after_s
        if (created(oldest) or math.huge) < before then stale_before = before end
    end
end

local taken, keys = {}, {}
local stale, malformed = 0, 0

local function take(id)
    if not is_job_id(id) then
        malformed = malformed + 1
        return
    end
    local key = prefix .. ':job:' .. id
    local fields = redis.pcall('HMGET', key, 'data', 'enqueued_at', 'meta')
    if fields.err then
        malformed = malformed + 1
        return
    end
    keys[#keys + 1] = key
    local data, enqueued_at = fields[1], fields[2] or ''
    if not data or #data > bytes_max or #enqueued_at > bytes_max then
        malformed = malformed + 1
    elseif stale_before > -math.huge and (created_at(fields[3]) or math.huge) < stale_before then
        stale = stale + 1
    else
        taken[#taken + 1], taken[#taken + 2] = data, enqueued_at
    end
end

while #taken < 2 * wanted and entries_left > 0 do
    local ids = redis.call('LPOP', queue, math.min(wanted - #taken / 2, entries_left))
    if not ids then break end
    entries_left = entries_left - #ids
    for _, id in ipairs(ids) do take(id) end
end
for first = 1, #keys, 1000 do
    redis.call('UNLINK', unpack(keys, first, math.min(first + 999, #keys)))
end
return { 'open', stale, malformed, taken }

-- Deletes keys that hold another type than they should: nothing of ours is in them, and each would fail
-- every call that meets it, for ever.
--
-- KEYS  any
-- ARGV  for each key its type
--
-- Returns the keys that were deleted.
local mended = {}
for i, key in ipairs(KEYS) do
    local found = redis.call('TYPE', key)['ok']
    if found ~= 'none' and found ~= ARGV[i] then
        redis.call('UNLINK', key)
        mended[#mended + 1] = key
    end
end
return mended

-- Calls a command with all values, 1,000 at a time, because Lua passes at most some thousands of arguments.
local function call_with_all(command, key, values)
    for first = 1, #values, 1000 do
        redis.call(command, key, unpack(values, first, math.min(first + 999, #values)))
    end
end


-- Calls a command with all of the values, an even number at a time: Lua passes on some thousands at most.
local function call_with_all(command, key, values)
    for first = 1, #values, 1000 do
        redis.call(command, key, unpack(values, first, math.min(first + 999, #values)))
    end
end


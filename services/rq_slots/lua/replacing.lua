-- Calls a command on a key of one job; where somebody has left another type there, on an empty key.
local function replacing(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) ~= 'table' or not answer.err then return answer end
    if string.find(answer.err, 'WRONGTYPE', 1, true) then redis.call('UNLINK', key) end
    return redis.call(command, key, ...)
end


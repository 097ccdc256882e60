-- True when RQ accepts the text as a job id; any other text names no hash.
local function is_job_id(id)
    return #id <= 255 and not string.find(id, '[^%w_-]')
end

local function begins_with(text, prefix) return string.sub(text, 1, #prefix) == prefix end

-- The created_at in a job's meta, in Unix seconds; nil when it cannot be read.
local function created_at(meta)
    if type(meta) ~= 'string' or #meta > 4096 then return nil end
    local readable, decoded = pcall(cjson.decode, meta)
    if readable and type(decoded) == 'table' and type(decoded.created_at) == 'number' then
        return decoded.created_at
    end
end

-- When the job at the head of a queue was created, in Unix seconds; its enqueued_at, as RQ writes it, when its
-- meta does not say; 'empty' or 'unreadable'.
local function time_of_head(queue, prefix)
    local id = redis.call('LINDEX', queue, 0)
    if not id then return 'empty' end
    local fields = is_job_id(id) and redis.pcall('HMGET', prefix .. ':job:' .. id, 'meta', 'enqueued_at') or {}
    if fields.err then return 'unreadable' end
    local created = created_at(fields[1])
    local enqueued_at = fields[2] and #fields[2] <= 64 and fields[2]
    return created and string.format('%.6f', created) or enqueued_at or 'unreadable'
end


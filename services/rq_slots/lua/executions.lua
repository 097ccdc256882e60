-- Records and ends the executions of one worker.

local KEEP_MAX_S = 31536000

-- Writes the record that RQ's tools show of a running execution.
local function record_execution(job_id, id, prefix, worker_name, now, lease_s)
    local key, registry = prefix .. ':execution:' .. job_id .. ':' .. id, prefix .. ':executions:' .. job_id
    local now_s = string.format('%.6f', now)
    redis.pcall('HSET', key, 'id', id, 'job_id', job_id, 'created_at', now_s, 'last_heartbeat', now_s,
        'worker_name', worker_name)
    redis.call('EXPIRE', key, lease_s)
    redis.pcall('ZADD', registry, now + lease_s + 60, id)
    redis.call('EXPIRE', registry, lease_s + 60)
end

-- How long to keep a failed job. Below 0: without end, as in RQ.
local function seconds_to_keep(key, default_s)
    local keep_s = tonumber(redis.pcall('HGET', key, 'failure_ttl') or default_s)
    if not keep_s or keep_s ~= keep_s then keep_s = default_s end
    return math.max(math.min(math.floor(keep_s), KEEP_MAX_S), -1)
end

local function fail(job_id, key, at)
    local keep_s = seconds_to_keep(key, at.failure_ttl_s)
    redis.pcall('HSET', key, 'status', 'failed', 'ended_at', at.now_text)
    if keep_s < 0 then
        redis.call('PERSIST', key)
        redis.call('ZADD', at.failed, keep_s, job_id)  -- below every time at which RQ checks for expired jobs
    else
        redis.call('EXPIRE', key, keep_s)
        redis.call('ZADD', at.failed, math.floor(at.now) + keep_s, job_id)
    end
end

-- Counts for `rq info`. A count that is not a number must not fail the call.
local function count(worker, outcome, times)
    if times > 0 then redis.pcall('HINCRBY', worker, outcome .. '_job_count', times) end
end

-- The ids of jobs that have dependents. Checks all at once, because nearly always none has any.
local function with_dependents(executions, prefix)
    local keys, found = {}, {}
    for i, execution in ipairs(executions) do keys[i] = prefix .. ':job:' .. execution.job_id .. ':dependents' end
    if #keys > 0 and redis.call('EXISTS', unpack(keys)) > 0 then
        for i, execution in ipairs(executions) do
            found[execution.job_id] = redis.call('EXISTS', keys[i]) == 1 or nil
        end
    end
    return found
end

-- Ends executions of plain jobs, each a job_id, id and outcome. Deletes the jobs that succeeded and are still in the
-- started registry, and keeps failed ones for a time. Executions that are 'running' get a record; most jobs end
-- before they need one.
--
-- `at` has: prefix of RQ's keys; keys of the started and failed registry, the worker and its executions; name of the
-- worker; now in Unix seconds and now_text as RQ writes it; lease_s; failure_ttl_s, for jobs without a valid one.
--
-- Returns the ids of jobs that ended and got dependents after they were claimed. These are left as they are.
local function update_executions(executions, at)
    local is_left = with_dependents(executions, at.prefix)
    local left, updated, members = {}, {}, {}
    for _, execution in ipairs(executions) do
        if execution.outcome ~= 'running' and is_left[execution.job_id] then
            left[#left + 1] = execution.job_id
        else
            updated[#updated + 1] = execution
            members[#members + 1] = execution.job_id .. ':' .. execution.id
        end
    end
    if #updated == 0 then return left end

    local leases = redis.call('ZMSCORE', at.started, unpack(members))
    local gone, ended, others, running = {}, {}, {}, {}  -- others: failed, or already ended
    for i, execution in ipairs(updated) do
        if execution.outcome == 'running' then
            if leases[i] then running[#running + 1] = i end
        else
            ended[#ended + 1] = members[i]
            gone[#gone + 1] = at.prefix .. ':execution:' .. members[i]
            if leases[i] and execution.outcome == 'succeeded' then
                gone[#gone + 1] = at.prefix .. ':job:' .. execution.job_id
                gone[#gone + 1] = at.prefix .. ':executions:' .. execution.job_id
            else
                others[#others + 1] = i
            end
        end
    end
    -- Deletions come first, because they free memory. Jobs leave the registry in the last write, so that a call that
    -- fails half-way can be repeated.
    if #gone > 0 then redis.call('DEL', unpack(gone)) end
    local failures = 0
    for _, i in ipairs(others) do
        local job_id = updated[i].job_id
        redis.pcall('ZREM', at.prefix .. ':executions:' .. job_id, updated[i].id)
        if leases[i] then
            fail(job_id, at.prefix .. ':job:' .. job_id, at)
            failures = failures + 1
        end
    end
    if #ended > 0 then
        redis.call('SREM', at.worker_executions, unpack(ended))
        redis.call('ZREM', at.started, unpack(ended))
        count(at.worker, 'successful', #ended - #others)
        count(at.worker, 'failed', failures)
    end
    for _, i in ipairs(running) do
        record_execution(updated[i].job_id, updated[i].id, at.prefix, at.worker_name, at.now, at.lease_s)
        -- RQ removes an execution without a record from this set when it lists the worker's executions
        redis.call('SADD', at.worker_executions, members[i])
    end
    return left
end


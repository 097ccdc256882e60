-- What becomes of the executions of one worker: they are recorded, and they end.

local KEEP_MAX_S = 31536000

-- The record that RQ's tools show of an execution that is under way.
local function record_execution(job_id, id, prefix, worker_name, now, lease_s)
    local key, registry = prefix .. ':execution:' .. job_id .. ':' .. id, prefix .. ':executions:' .. job_id
    local moment = string.format('%.6f', now)
    redis.pcall('HSET', key, 'id', id, 'job_id', job_id, 'created_at', moment, 'last_heartbeat', moment,
        'worker_name', worker_name)
    redis.call('EXPIRE', key, lease_s)
    redis.pcall('ZADD', registry, now + lease_s + 60, id)
    redis.call('EXPIRE', registry, lease_s + 60)
end

-- Below 0: for ever, as RQ has it.
local function seconds_to_keep(key, default_s)
    local keep_s = tonumber(redis.pcall('HGET', key, 'failure_ttl') or default_s)
    if not keep_s or keep_s ~= keep_s then keep_s = default_s end
    return math.max(math.min(math.floor(keep_s), KEEP_MAX_S), -1)
end

local function fail(job_id, key, at)
    local keep_s = seconds_to_keep(key, at.keep_s)
    redis.pcall('HSET', key, 'status', 'failed', 'ended_at', at.now_text)
    if keep_s < 0 then
        redis.call('PERSIST', key)
        redis.call('ZADD', at.failed, keep_s, job_id)  -- below every moment at which RQ looks for expired ones
    else
        redis.call('EXPIRE', key, keep_s)
        redis.call('ZADD', at.failed, math.floor(at.now) + keep_s, job_id)
    end
end

-- Figures for `rq info`: one that is no number any more must hold up nothing.
local function count(worker, outcome, times)
    if times > 0 then redis.pcall('HINCRBY', worker, outcome .. '_job_count', times) end
end

-- The ids of those whose jobs have got dependents; one question for all: nearly always there is none.
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

-- Ends executions of plain jobs, each a job_id, id and outcome: deletes the jobs that are still in the started
-- registry, and keeps failed ones for a while. Those that are 'running' get a record: most jobs are over before,
-- and never had one.
--
-- `at` is where and when: prefix of RQ, keys of started and failed registry, of worker and its executions, name
-- of the worker, now in Unix seconds and as RQ writes it, seconds of a lease, and to keep what says nothing of it.
--
-- Returns the ids of jobs that ended and have got dependents since they were claimed: nothing is done for them.
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
    local gone, ended, others, running = {}, {}, {}, {}  -- others: failed, or ended by somebody else
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
    -- what makes room comes first; they stay in the registry until the last of these writes, so that a call that
    -- fails half-way can be made again
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
        -- who has listed the worker's executions meanwhile has taken out the one without a record
        redis.call('SADD', at.worker_executions, members[i])
    end
    return left
end


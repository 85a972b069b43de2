-- needs: base
-- The request queue: round-robin between owners, first come first served within one, retries before all, suspects
-- apart. An entry is <generation>:<session>.
local WAITING, RETRIES, SUSPECTS, OWNERS = K .. 'waiting', K .. 'retries', K .. 'suspects', K .. 'owners'

local function line(owner) return K .. 'line:' .. owner end

local function weight(entry) -- bytes of its request; what is spoilt weighs nothing
    local g, sid = entry:match('^(%d+):(.*)$')
    return g and tonumber(redis.pcall('HSTRLEN', K .. 'r:' .. sid .. ':' .. g, 'request')) or 0
end

local function waits(entry)
    call('HINCRBY', META, 'queued', weight(entry))
    call('ZADD', WAITING, now, entry)
end

local function waits_no_more(entry)
    call('HDEL', K .. 'told', entry)
    if call('ZREM', WAITING, entry) == 0 then return end
    if call('EXISTS', WAITING) == 1 then
        call('HINCRBY', META, 'queued', 0 - weight(entry))
    else
        call('HDEL', META, 'queued') -- whatever was spoilt meanwhile
    end
end

local function is_full(more) -- by count or by bytes; one alone is never too large
    local bytes = tonumber(call('HGET', META, 'queued') or 0)
    return call('ZCARD', WAITING) >= LIMIT.queue or (bytes > 0 and bytes + more > LIMIT.queue_bytes)
end

local function enqueue(r, owner)
    if call('RPUSH', line(owner), r.entry) == 1 then call('RPUSH', OWNERS, owner) end
    waits(r.entry)
    keep(line(owner))
end

local function enqueue_again(r, suspect)
    call('RPUSH', suspect and SUSPECTS or RETRIES, r.entry)
    waits(r.entry)
end

local function leave_queue(entry, owner)
    waits_no_more(entry)
    if call('LREM', RETRIES, 1, entry) + call('LREM', SUSPECTS, 1, entry) == 0 then
        call('LREM', line(owner), 1, entry)
        if call('EXISTS', line(owner)) == 0 then call('LREM', OWNERS, 1, owner) end
    end
end

local function next_entry()
    local entry = call('LPOP', RETRIES)
    while not entry do
        local owner = call('LPOP', OWNERS)
        if not owner then return nil end
        entry = call('LPOP', line(owner))
        -- the owner's turn comes again after all others
        if call('EXISTS', line(owner)) == 1 then call('RPUSH', OWNERS, owner) end
    end
    return entry
end

local function take_entry(alone)
    local entry
    if alone then entry = call('LPOP', SUSPECTS) else entry = next_entry() end
    if entry then waits_no_more(entry) end
    return entry or nil
end

local function place_of_last(owner)
    local own, place = call('LLEN', line(owner)) - 1, call('LLEN', RETRIES)
    if own == 0 then return place + call('LLEN', OWNERS) - 1 end -- every other owner goes once before it
    local before = 1
    for _, other in ipairs(call('LRANGE', OWNERS, 0, -1)) do
        if other == owner then
            before = 0
        else
            place = place + math.min(call('LLEN', line(other)), own + before)
        end
    end
    return place + own
end

local function in_order()
    local all = call('LRANGE', RETRIES, 0, -1)
    local lines = {}
    for _, owner in ipairs(call('LRANGE', OWNERS, 0, -1)) do lines[#lines + 1] = call('LRANGE', line(owner), 0, -1) end
    local round = 1
    while #lines > 0 do
        local going = {}
        for _, entries in ipairs(lines) do
            if entries[round] then
                all[#all + 1] = entries[round]
                going[#going + 1] = entries
            end
        end
        lines, round = going, round + 1
    end
    for _, entry in ipairs(call('LRANGE', SUSPECTS, 0, -1)) do all[#all + 1] = entry end
    return all
end

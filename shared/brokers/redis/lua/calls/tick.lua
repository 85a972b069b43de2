-- needs: leasing
-- args: seconds that must have passed since the last one
local last = call('HMGET', META, 'ticked', 'swept', 'offset')
local time = redis.call('TIME')
local ticked, swept = tonumber(last[1]), tonumber(last[2])

local function active() return call('EXISTS', HELD, WAITING) > 0 end

if now - ticked < args[1] then return ok(pack(nil)) end -- somebody else has done it
if not tonumber(ARGV[3]) then -- a clock that was set back
    local raw = time[1] + time[2] / 1000000 + tonumber(last[3] or 0)
    if raw < ticked then call('HSET', META, 'offset', tonumber(last[3] or 0) + ticked - raw) end
end

local function forgive() -- after a pause of the server's own nobody is to blame for silence
    local pause = now - ticked
    if pause > LIMIT.lease / 3 then
        for _, n in ipairs(call('ZRANGE', HELD, 0, -1)) do call('ZADD', HELD, now + LIMIT.lease, n) end
    end
    if pause > math.max(LIMIT.silence / 3, LIMIT.idle_tick * 2) then
        for _, key in ipairs({GATEWAYS, WORKERS}) do
            for _, name in ipairs(call('ZRANGE', key, 0, -1)) do call('ZADD', key, now, name) end
        end
    end
end

local function each(entries, what, act) -- what cannot be understood is put aside, and nothing stops
    for _, entry in ipairs(entries) do
        local fine, why = pcall(act, entry)
        if not fine then
            bury_letter('cannot be read: ' .. tostring(type(why) == 'table' and why.err or why),
                        {entry = entry, list = what})
            call('ZREM', K .. what, entry)
        end
    end
end

local function with_reply(act)
    return function(entry)
        local g, sid = split(entry)
        local s = session(sid)
        local r = s and reply(sid, g)
        return act(entry, s, r)
    end
end

local function due(key, upto, ...) return call('ZRANGEBYSCORE', key, '-inf', upto, ...) end

local function expire_waiting()
    each(due(WAITING, now - LIMIT.queue_timeout), 'waiting', with_reply(function(entry, s, r)
        leave_queue(entry, s and s.owner or '')
        if r and not r.ended then finish(s, r, 'expired') end
    end))
end

local function expire_kept()
    each(due(K .. 'ended', now - LIMIT.retention), 'ended', with_reply(function(entry, s, r)
        if r then expire_reply(s, r) else call('ZREM', K .. 'ended', entry) end
    end))
end

local function tell_places()
    local told = {}
    local flat = call('HGETALL', K .. 'told')
    for at = 1, #flat, 2 do told[flat[at]] = tonumber(flat[at + 1]) end
    for at, entry in ipairs(in_order()) do
        local place = at - 1
        if told[entry] ~= place then
            call('HSET', K .. 'told', entry, place)
            local g, sid = split(entry)
            local id = call('HGET', K .. 'r:' .. sid .. ':' .. g, 'id')
            for _, name in ipairs(id and call('SMEMBERS', K .. 'g:' .. sid) or {}) do
                local follower = gateway(name)
                if follower then
                    call('HSET', follower.key .. ':p', sid, arr(3) .. pack(sid, id, place))
                    keep(follower.key .. ':p')
                    tell_gateway(follower)
                end
            end
        end
    end
end

local function sweep_sessions()
    each(due(K .. 'idle', now, 'LIMIT', 0, 1000), 'idle', function(sid)
        if call('SCARD', K .. 'g:' .. sid) == 0 and call('ZCARD', K .. 'k:' .. sid) == 0 then
            call('DEL', K .. 's:' .. sid, K .. 'm:' .. sid, K .. 'k:' .. sid, K .. 'x:' .. sid)
            call('ZREM', K .. 'idle', sid)
        else
            call('ZADD', K .. 'idle', now + LIMIT.retention, sid)
            keep_session(sid)
        end
    end)
end

local function sweep_peers()
    for _, name in ipairs(call('ZRANGE', GATEWAYS, 0, -1)) do keep_gateway(name) end
    for _, name in ipairs(call('ZRANGE', WORKERS, 0, -1)) do keep(K .. 'wk:' .. name, K .. 'wk:' .. name .. ':h') end
    for _, name in ipairs(due(GATEWAYS, now - LIMIT.silence)) do
        if gateway(name) then leave_gateway(name) else call('ZREM', GATEWAYS, name) end
    end
    for _, name in ipairs(due(WORKERS, now - math.max(LIMIT.silence, LIMIT.lease))) do
        local w = worker(name)
        if not w then
            call('ZREM', WORKERS, name)
        elseif call('SCARD', w.key .. ':h') == 0 then
            remove_worker(w)
        end
    end
end

call('HSET', META, 'ticked', now)
forgive()
each(due(HELD, now), 'held', function(n) free_lease(tonumber(n), true, false) end)
each(due(CANCELLING, now - LIMIT.cancel_grace), 'cancelling', function(n) free_lease(tonumber(n), true, false) end)
each(due(OWED, now - 1, 'LIMIT', 0, 4), 'owed', with_reply(function(entry, s, r) -- whoever was to make it is gone
    call('ZREM', OWED, entry)
    if r and r.owed then owe(s, r) end
end))
if now - swept >= 1 then
    call('HSET', META, 'swept', now)
    expire_waiting()
    expire_kept()
    tell_places()
    for _, token in ipairs(due(K .. 'spent', now)) do
        call('ZREM', K .. 'spent', token)
        call('HDEL', K .. 'spenders', token)
    end
    sweep_sessions()
    sweep_peers()
    keep(META, WAITING, RETRIES, SUSPECTS, OWNERS, HELD, WRITTEN, CANCELLING, OWED, GATEWAYS, WORKERS, SEATS, K .. 'idle',
         K .. 'ended', K .. 'told')
    for _, owner in ipairs(call('LRANGE', OWNERS, 0, -1)) do keep(line(owner)) end
end
assign()
return ok(pack(active()))

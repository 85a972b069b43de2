-- needs: writing
-- From the queue to the workers whose poll waits.

local function lease(r, w)
    begin_attempt(r)
    local n, first = call('HINCRBY', META, 'lease', 1), r.leased or now
    if r.lease > 0 then call('HDEL', WRITTEN, num(r.lease)) end
    r.lease, r.worker, r.leased = n, w.name, first
    call('HSET', r.key, 'lease', n, 'worker', w.name, 'leased', first, 'begun', now)
    call('HSET', WRITTEN, num(n), r.entry)
    call('ZADD', HELD, now + LIMIT.lease, num(n))
    call('SADD', w.key .. ':h', num(n))
    w.free = w.free - 1
    w.leases[#w.leases + 1] = n
    tell_worker(w)
end

local function whole(entry) -- the reply that an entry of the queue names, if it can be run
    local g, sid = split(entry)
    local s = session(sid)
    local r = s and reply(sid, g)
    if not r then
        if s and s.running == g then call('HSET', s.key, 'running', '') end
        return nil
    end
    if r.ended or r.owed or r.worker ~= '' then return nil end
    if call('HEXISTS', r.key, 'request') == 1 then return r end
    finish(s, r, 'internal')
    return nil
end

local function fill(w)
    while w.parked and w.free > 0 do
        local entry = take_entry(w.alone)
        if not entry then break end
        local fine, r = pcall(whole, entry)
        if fine and r then
            lease(r, w)
        else
            bury_letter(fine and 'the queue named a message that cannot be run' or 'the message cannot be read',
                        {entry = entry})
        end
    end
    reseat(w)
end

local function assign()
    if call('EXISTS', WAITING) == 0 then return end
    for _, name in ipairs(call('ZREVRANGE', SEATS, 0, -1)) do
        local w = worker(name)
        if w and now - w.since <= LIMIT.lease / 2 then fill(w) else call('ZREM', SEATS, name) end
    end
end

local function lease_of(n) -- as the worker is told of it
    local g, sid = split(call('HGET', WRITTEN, num(n)))
    local r = reply(sid, g)
    local f = call('HMGET', r.key, 'request', 'begun')
    local items = {}
    if r.items > 0 then
        for at, entry in ipairs(call('XRANGE', K .. 'x:' .. sid, g .. '-0', g .. '-18446744073709551615')) do
            items[at] = bin(entry[2][2])
        end
    end
    return arr(12) .. pack(n, sid, tonumber(g), r.attempt, r.nonce, r.id) .. bin(f[1]) .. r.tally
        .. pack(r.items > 0, ms(tonumber(f[2]) - r.accepted), ms(r.leased - r.accepted)) .. list(items)
end

local function polled(w, number, final)
    if not w or number ~= w.polls then
        return arr(5) .. pack(epoch, number) .. list({}) .. list({}) .. list({})
    end
    if not final and #w.leases + #w.cancelled + #w.lost == 0 then return nil end
    local leases, told, cancels = {}, {}, {}
    for at, n in ipairs(w.leases) do leases[at] = lease_of(n) end
    for _, n in ipairs(w.cancelled) do
        if holds_lease(w, n) then
            local g, sid = split(call('HGET', WRITTEN, num(n)))
            local age = now - tonumber(call('HGET', K .. 'r:' .. sid .. ':' .. g, 'cancel') or now)
            cancels[#cancels + 1] = n
            told[#told + 1] = arr(2) .. pack(n, ms(age))
        end
    end
    local lost = {}
    for at, n in ipairs(w.lost) do lost[at] = pack(n) end
    local answer = arr(5) .. pack(epoch, w.polls) .. list(leases) .. list(told) .. list(lost)
    w.unseen, w.unseen_cancels, w.leases, w.cancelled, w.lost = w.leases, cancels, {}, {}, {}
    w.parked, w.told, w.answered = false, false, w.polls
    call('ZREM', SEATS, w.name)
    call('ZADD', WORKERS, now, w.name)
    return answer
end

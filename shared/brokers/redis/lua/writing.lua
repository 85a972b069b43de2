-- needs: session, gateway, worker, queue, dead
-- The life of a reply: who may write it, and how it ends.
local HELD, WRITTEN, CANCELLING, OWED = K .. 'held', K .. 'written', K .. 'cancelling', K .. 'owed'

local function make_room(s, size)
    while s.bytes + size > LIMIT.session_bytes do
        local oldest = oldest_ended(s)
        if not oldest then return false end
        expire_reply(s, oldest)
    end
    while kept > LIMIT.kept_bytes do
        local entry = call('ZRANGE', K .. 'ended', 0, 0)[1]
        if not entry then break end
        local g, sid = split(entry)
        local other = sid == s.id and s or session(sid)
        local old = other and reply(sid, g)
        if old then expire_reply(other, old) else call('ZREM', K .. 'ended', entry) end
    end
    return true
end

local function file(s, r, first, count, flags, tally, pieces, events) -- stored first, then visible
    local size = #events
    s.newest, s.bytes = s.newest + 1, s.bytes + size
    call('HSET', s.key, 'newest', s.newest, 'bytes', s.bytes)
    local item = arr(10) .. pack(r.sid, tonumber(r.g), r.attempt, r.nonce, r.id, first, count, flags) .. bin(events)
        .. pack(s.newest)
    call('XADD', s.items, entry_id(r.g, r.attempt, first), 'i', item, 'c', count, 'b', size)
    if r.items == 0 then call('EXPIRE', s.items, LIMIT.ttl) end
    add_kept(size + 250)
    r.next, r.tally, r.bytes, r.items = first + count, tally, r.bytes + size, r.items + 1
    if pieces > r.furthest then
        r.furthest, r.fruitful, r.fruitless = pieces, true, 0
        call('HSET', r.key, 'next', r.next, 'tally', tally, 'bytes', r.bytes, 'items', r.items, 'furthest', pieces,
             'fruitful', '1', 'fruitless', 0)
    else
        call('HSET', r.key, 'next', r.next, 'tally', tally, 'bytes', r.bytes, 'items', r.items)
    end
    for _, name in ipairs(call('SMEMBERS', K .. 'g:' .. s.id)) do
        local g = gateway(name)
        if g then
            offer(g, item, size)
            if g.bytes > LIMIT.undrained_bytes then unfollow_all(g) end
        else
            call('SREM', K .. 'g:' .. s.id, name)
        end
    end
end

local function settle(r) -- the lease is over: from here on its attempt is fenced
    local n, name = num(r.lease), r.worker
    call('ZREM', HELD, n)
    call('ZREM', CANCELLING, n)
    call('SREM', K .. 'wk:' .. name .. ':h', n)
    call('HSET', r.key, 'worker', '')
    r.worker = ''
    local w, fetched = worker(name), true
    if w then
        for at = #w.leases, 1, -1 do
            if w.leases[at] == r.lease then
                table.remove(w.leases, at)
                fetched = false
            end
        end
    end
    return w, fetched
end

local function tell_lost(w, lease)
    if w then
        w.lost[#w.lost + 1] = lease
        tell_worker(w)
    end
end

local function ends(s, r)
    call('HSET', r.key, 'ended', now)
    r.ended = now
    if call('HSTRLEN', r.key, 'note') == 0 then call('HDEL', r.key, 'request') end
    call('HSET', s.key, 'running', '', 'ended', r.g)
    s.running, s.ended = '', r.g
    call('ZADD', K .. 'ended', now, r.entry)
    touch(s.id)
    keep_session(s.id)
end

local function begin_attempt(r)
    r.attempt, r.nonce, r.next, r.fruitful = r.attempt + 1, nonce(), 0, false
    call('HSET', r.key, 'attempt', r.attempt, 'nonce', r.nonce, 'next', 0, 'fruitful', '0')
end

local function ms(seconds) return floor(seconds * 1000 + 0.5) end

local function cancelled_unseen(r) -- a reply of which there is no text needs no digest but that of nothing
    local waited = ms((r.leased or now) - r.accepted)
    local known = not r.leased and 0 or nil
    return char(0x91, 0x96) .. pack('f', 'cancelled')
        .. char(0x83) .. pack('prompt_tokens', 0, 'completion_tokens', 0, 'estimated', true)
        .. char(0x83) .. pack('queue_ms', waited, 'first_token_ms', nil, 'total_ms', ms(now - r.accepted))
        .. pack(LIMIT.sha_of_nothing)
        .. char(0x83) .. pack('generated', known, 'delivered', 0, 'stop_ms', known)
end

local function owe(s, r)
    local items = {}
    for at, entry in ipairs(call('XRANGE', s.items, r.g .. '-0', r.g .. '-18446744073709551615')) do
        items[at] = bin(entry[2][2])
    end
    call('ZADD', OWED, now, r.entry)
    owed[#owed + 1] = arr(10) .. pack(r.sid, tonumber(r.g), r.id, r.attempt, r.owed) .. r.tally
        .. pack(r.accepted, r.leased, now) .. list(items)
end

local function store_terminal(s, r, events)
    make_room(s, #events)
    file(s, r, 0, 1, TERMINAL, r.tally, 0, events)
    ends(s, r)
end

local function letter_of(s, r, reason)
    bury_letter(reason, {session = s.id, id = r.id, generation = r.g, attempts = r.attempt, owner = s.owner,
                         about = call('HGET', s.key, 'about') or '', request = call('HGET', r.key, 'request') or ''})
end

local function finish(s, r, reason) -- the broker ends a reply itself, in an attempt that fences all others
    if r.worker ~= '' then
        local lease = r.lease
        tell_lost((settle(r)), lease)
    end
    call('HDEL', WRITTEN, num(r.lease))
    begin_attempt(r)
    local failure = LIMIT.failures[reason]
    if failure then
        if reason ~= 'expired' then letter_of(s, r, reason) end
        store_terminal(s, r, failure)
    elseif r.items == 0 then
        store_terminal(s, r, cancelled_unseen(r))
    else
        r.owed = reason
        call('HSET', r.key, 'owed', reason)
        owe(s, r)
    end
end

local function free(s, r, blame, told)
    local lease = r.lease
    local w, fetched = settle(r)
    if not told then tell_lost(w, lease) end
    if r.cancel then return finish(s, r, 'cancelled') end
    if blame and fetched then -- what its worker has never heard of is nobody's fault
        r.crashes = r.crashes + 1
        if not r.fruitful then r.fruitless = r.fruitless + 1 end
        call('HSET', r.key, 'crashes', r.crashes, 'fruitless', r.fruitless)
    end
    if r.crashes >= LIMIT.max_attempts or r.fruitless >= LIMIT.fruitless_attempts then
        return finish(s, r, 'worker_lost')
    end
    enqueue_again(r, r.fruitless == LIMIT.fruitless_attempts - 1)
end

local function free_lease(n, blame, told)
    local entry = call('HGET', WRITTEN, num(n))
    local g, sid = split(entry or '')
    local s = sid and session(sid)
    local r = s and reply(sid, g)
    if r and r.worker ~= '' and r.lease == n then
        free(s, r, blame, told)
    else
        call('ZREM', HELD, num(n))
        call('ZREM', CANCELLING, num(n))
    end
end

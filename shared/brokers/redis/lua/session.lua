-- needs: base
-- Sessions and their replies: s: the session, m: message ids, k: kept generations, x: the stream of items,
-- g: the gateways that follow it, r:<session>:<generation> a reply.

local function session(sid)
    local key = K .. 's:' .. sid
    local f = call('HMGET', key, 'owner', 'newest', 'bytes', 'last', 'ended', 'running')
    if not f[1] then return nil end
    return {id = sid, key = key, items = K .. 'x:' .. sid, owner = f[1], newest = tonumber(f[2]),
            bytes = tonumber(f[3]), last = tonumber(f[4]), ended = f[5], running = f[6]}
end

local function reply(sid, g)
    local key = K .. 'r:' .. sid .. ':' .. g
    local f = call('HMGET', key, 'id', 'attempt', 'nonce', 'next', 'tally', 'furthest', 'fruitful', 'fruitless',
                   'crashes', 'lease', 'worker', 'accepted', 'leased', 'cancel', 'ended', 'bytes', 'items', 'owed')
    if not f[1] then return nil end
    return {key = key, sid = sid, g = g, entry = g .. ':' .. sid, id = f[1], attempt = tonumber(f[2]), nonce = f[3],
            next = tonumber(f[4]), tally = f[5], furthest = tonumber(f[6]), fruitful = f[7] == '1',
            fruitless = tonumber(f[8]), crashes = tonumber(f[9]), lease = tonumber(f[10]), worker = f[11],
            accepted = tonumber(f[12]), leased = tonumber(f[13]), cancel = tonumber(f[14]), ended = tonumber(f[15]),
            bytes = tonumber(f[16]), items = tonumber(f[17]), owed = f[18]}
end

local function split(entry) return entry:match('^(%d+):(.*)$') end

local function keep_session(sid)
    keep(K .. 's:' .. sid, K .. 'm:' .. sid, K .. 'k:' .. sid, K .. 'x:' .. sid, K .. 'g:' .. sid)
    for _, g in ipairs(call('ZRANGE', K .. 'k:' .. sid, 0, -1)) do keep(K .. 'r:' .. sid .. ':' .. g) end
end

local function beside(r) -- bytes of the note, and of the request that is kept with it
    local note = call('HSTRLEN', r.key, 'note')
    return note > 0 and note + call('HSTRLEN', r.key, 'request') or 0
end

local added = 0
local function add_kept(bytes) -- written once, at the end
    added, kept = added + bytes, kept + bytes
end

savers[#savers + 1] = function()
    if added ~= 0 then call('HINCRBY', META, 'kept', added) end
end

local function expire_reply(s, r)
    call('ZREM', K .. 'ended', r.entry)
    call('HDEL', K .. 'written', num(r.lease))
    add_kept(0 - (r.bytes + r.items * 250 + beside(r)))
    s.bytes = call('HINCRBY', s.key, 'bytes', 0 - r.bytes)
    if r.items > 0 then
        call('HSET', s.key, 'floor', pack(tonumber(r.g), r.attempt, r.next - 1, r.nonce))
        call('XTRIM', s.items, 'MINID', num(tonumber(r.g) + 1))
    end
    call('DEL', r.key)
    call('HDEL', K .. 'm:' .. s.id, r.id)
    call('ZREM', K .. 'k:' .. s.id, r.g)
end

local function oldest_ended(s)
    local g = call('ZRANGE', K .. 'k:' .. s.id, 0, 0)[1]
    if g and g ~= s.running then return reply(s.id, g) end
    return nil
end

local function entry_id(g, attempt, seq) return g .. '-' .. num(attempt * 4294967296 + seq) end

local function last_before(sid, id) -- the cursor of the last event of the last item before that id
    local found = call('XREVRANGE', K .. 'x:' .. sid, id, '-', 'COUNT', 1)[1]
    if not found then return nil end
    local _, _, g, attempt, nonce_, _, first, count = head(found[2][2])
    return arr(4) .. pack(g, attempt, first + count - 1, nonce_)
end

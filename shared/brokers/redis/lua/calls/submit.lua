-- needs: leasing
-- args: session, id, floor; blobs: request, note
local sid, id = args[1], args[2]
local s = session(sid)
if not s then return refuse('session_not_found') end

local function accepted(g, place, repeated, ended) return ok(arr(4) .. pack(tonumber(g), place, repeated, ended)) end

local g = call('HGET', K .. 'm:' .. sid, id)
local known = g and reply(sid, g)
if known then
    local place = 0
    if known.worker == '' and not known.ended and not known.owed then
        for at, entry in ipairs(in_order()) do
            if entry == known.entry then place = at - 1 end
        end
    end
    return accepted(g, place, true, known.ended ~= nil)
end
if s.running ~= '' then return refuse('busy', s.running) end
local early = cmsgpack.unpack(call('HGET', s.key, 'early') or pack({}))
local cancelled = nil
for at, other in ipairs(early) do
    if other == id then cancelled = at end
end
if not cancelled and is_full(#blob(1)) then return refuse('queue_full') end

g = num(math.max(wall, s.last + 1, args[3] + 1))
call('HSET', K .. 'r:' .. sid .. ':' .. g, 'id', id, 'attempt', 0, 'nonce', '', 'next', 0, 'tally',
     arr(4) .. pack(0, 0, 0, nil), 'furthest', 0, 'fruitful', '0', 'fruitless', 0, 'crashes', 0, 'lease', 0, 'worker',
     '', 'accepted', now, 'bytes', 0, 'items', 0, 'request', blob(1), 'note', blob(2))
call('HSET', K .. 'm:' .. sid, id, g)
call('ZADD', K .. 'k:' .. sid, g, g)
call('HSET', s.key, 'last', g, 'running', g)
s.running = g
local r = reply(sid, g)
add_kept(beside(r))
keep_session(sid)
if cancelled then
    table.remove(early, cancelled)
    call('HSET', s.key, 'early', pack(early))
    finish(s, r, 'cancelled')
    return accepted(g, 0, false, true)
end
enqueue(r, s.owner)
local place = place_of_last(s.owner)
call('HSET', K .. 'told', r.entry, place)
assign()
if call('HGET', r.key, 'worker') ~= '' then place = 0 end
return accepted(g, place, false, false)

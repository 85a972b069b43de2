-- needs: leasing
-- args: lease, first, count, flags, tally of each flush; blobs: the events of each
local refusals, freed = {}, false

local function holds(r, first, count)
    local id = entry_id(r.g, r.attempt, first)
    local found = call('XRANGE', K .. 'x:' .. r.sid, id, id)[1]
    return found ~= nil and tonumber(found[2][4]) == count
end

local function append(n, first, count, flags, tally, events)
    local g, sid = split(call('HGET', WRITTEN, num(n)) or '')
    local r = g and reply(sid, g)
    if not r then return 'fenced', 0 end
    if first < r.next and holds(r, first, count) then return nil end -- a repeat: the first answer was lost
    if r.worker == '' or first ~= r.next or count < 1 then return 'fenced', 0 end
    local last = bit.band(flags, TERMINAL) ~= 0
    local alone = last and count == 1 -- which says more than `length`
    if r.cancel and not alone then return 'cancelled', ms(now - r.cancel) end
    local s = session(sid)
    if not make_room(s, #events) and not alone then
        finish(s, r, 'length')
        return 'fenced', 0
    end
    file(s, r, first, count, flags, arr(4) .. pack(tally[1], tally[2], tally[3], tally[4]), tally[1], events)
    if last then
        local w = settle(r)
        if w then
            w.free, freed = w.free + 1, true
            reseat(w)
        end
        ends(s, r)
    end
    return nil
end

for at, flush in ipairs(args) do
    local fine, reason, age = pcall(append, flush[1], flush[2], flush[3], flush[4], flush[5], blob(at))
    if not fine then
        bury_letter('a reply cannot be written: ' .. tostring(type(reason) == 'table' and reason.err or reason),
                    {lease = num(flush[1])})
        reason, age = 'fenced', 0
    end
    if reason then refusals[#refusals + 1] = arr(3) .. pack(at - 1, reason, age) end
end
if freed then assign() end
return ok(list(refusals))

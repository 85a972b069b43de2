-- needs: writing
-- args: session, id
local s = session(args[1])
if not s then return refuse('session_not_found') end
local g = call('HGET', K .. 'm:' .. s.id, args[2])
local r = g and reply(s.id, g)
if not r then
    local early = cmsgpack.unpack(call('HGET', s.key, 'early') or pack({}))
    for _, other in ipairs(early) do
        if other == args[2] then return ok(pack(false)) end
    end
    early[#early + 1] = args[2]
    if #early > LIMIT.early_cancels then table.remove(early, 1) end
    call('HSET', s.key, 'early', pack(early))
    return ok(pack(false))
end
if not r.ended and not r.cancel and not r.owed then
    r.cancel = now
    call('HSET', r.key, 'cancel', now)
    if r.worker == '' then
        leave_queue(r.entry, s.owner)
        finish(s, r, 'cancelled')
    else
        call('ZADD', CANCELLING, now, num(r.lease))
        local w = worker(r.worker)
        if w then
            w.cancelled[#w.cancelled + 1] = r.lease
            tell_worker(w)
        end
    end
end
return ok(pack(true))

-- needs: writing
-- args: session, generation, attempt; blob: events. The terminal that was owed.
local s = session(args[1])
local r = s and reply(s.id, num(args[2]))
if r and r.owed and r.attempt == args[3] and not r.ended then
    call('HDEL', r.key, 'owed')
    call('ZREM', OWED, r.entry)
    store_terminal(s, r, blob(1))
end
return ok(pack(nil))

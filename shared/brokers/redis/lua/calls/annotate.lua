-- needs: session
-- args: session, id; blob: note
local s = session(args[1])
if not s then return refuse('session_not_found') end
local g = call('HGET', K .. 'm:' .. s.id, args[2])
local r = g and reply(s.id, g)
if not r or call('HSTRLEN', r.key, 'note') == 0 then return refuse('unknown_id') end
local before = beside(r)
call('HSET', r.key, 'note', blob(1))
if blob(1) == '' and r.ended then call('HDEL', r.key, 'request') end
add_kept(beside(r) - before)
return ok(pack(nil))

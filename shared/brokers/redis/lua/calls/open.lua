-- needs: session
-- args: session, owner, floor, epoch; blob: about
local sid = args[1]
local s = session(sid)
if not s then
    if args[4] == epoch then return refuse('session_not_found') end
    call('HSET', K .. 's:' .. sid, 'owner', args[2], 'about', blob(1), 'newest', -1, 'bytes', 0, 'last', args[3],
         'ended', '0', 'running', '')
    call('ZADD', K .. 'idle', now + LIMIT.retention, sid)
    call('EXPIRE', K .. 's:' .. sid, LIMIT.ttl)
elseif args[3] > s.last then
    call('HSET', s.key, 'last', args[3])
end
return ok(pack(nil))

-- needs: session
-- args: session, id
local s = session(args[1])
if not s then return refuse('session_not_found') end
local g = call('HGET', K .. 'm:' .. s.id, args[2])
local r = g and reply(s.id, g)
local f = r and call('HMGET', r.key, 'request', 'note')
if not r or (f[2] or '') == '' then return refuse('unknown_id') end
local before = last_before(s.id, '(' .. g .. '-0') or call('HGET', s.key, 'floor')
before = before and (before:sub(1, 1) == char(0x94) and before or arr(4) .. before)
local newest = r.items > 0 and last_before(s.id, g .. '-18446744073709551615')
local last = call('ZRANGE', K .. 'k:' .. s.id, -1, -1)[1] == g
return ok(arr(7) .. pack(s.owner) .. bin(f[1] or '') .. bin(f[2]) .. (before or pack(nil)) .. (newest or pack(nil))
    .. pack(r.ended ~= nil, last))
